/** The whole page: header, what narrows the answer, the answer, the open clip. */
import { useEffect, useState } from "preact/hooks";
import { Basket } from "./basket";
import { BodyPicker } from "./body-picker";
import { Filters } from "./filters";
import { Grid } from "./grid";
import { Header } from "./header";
import { Help } from "./help";
import { Icon } from "./icons";
import { onKey } from "./keys";
import { library, libraryFault, openLibrary } from "./library";
import { Make } from "./make";
import { LibraryMap } from "./map";
import { Notices } from "./notices";
import { place } from "./place";
import { DropTarget } from "./search-bar";
import { Viewer } from "./viewer";
import "./app.css";

export function App() {
  const [narrowing, setNarrowing] = useState(false);
  const { view, open, filters, parts } = place.value;
  useEffect(() => (addEventListener("keydown", onKey), () => removeEventListener("keydown", onKey)), []);
  const chosen = Object.keys(filters).length + (parts.length ? 1 : 0);
  if (libraryFault.value && !library.value) return <Closed fault={libraryFault.value} />;
  return (
    <div class="page" data-view={view} data-open={open ? "" : undefined}>
      <Header />
      {view !== "make" && (
        <>
          <button
            class="narrow-toggle"
            aria-expanded={narrowing}
            aria-controls="narrow"
            onClick={() => setNarrowing(!narrowing)}
          >
            <Icon name={narrowing ? "close" : "filter"} />{" "}
            {narrowing ? "Done" : `Parts and filters${chosen ? ` · ${chosen}` : ""}`}
          </button>
          <div
            id="narrow"
            class="narrow"
            role="region"
            aria-label="Parts and filters"
            tabIndex={-1}
            data-shown={narrowing || undefined}
          >
            <BodyPicker />
            <Filters />
          </div>
        </>
      )}
      <main class="main" tabIndex={-1}>
        <h1 class="sr-only">Remora studio{library.value && `: ${library.value.name}`}</h1>
        {view === "map" ? <LibraryMap /> : view === "make" ? <Make /> : <Grid />}
      </main>
      {open && <Viewer key={open} id={open} />}
      <Basket />
      <Help />
      <Notices />
      <DropTarget />
    </div>
  );
}

function Closed({ fault }: { fault: string }) {
  return (
    <main class="nothing closed">
      <h1>The library cannot be opened</h1>
      <p>{fault}</p>
      <button class="primary" onClick={() => void openLibrary()}>
        Try again
      </button>
    </main>
  );
}
