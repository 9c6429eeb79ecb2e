/** The top of the page: what this is, the search box, and the ways to look at a library. */
import { basket, basketOpen } from "./basket";
import { helpOpen } from "./help";
import { Icon, type IconName } from "./icons";
import { go, place, type View } from "./place";
import { SearchBar } from "./search-bar";
import { theme, toggleTheme } from "./theme";
import "./header.css";

const VIEWS: { view: View; icon: IconName; label: string }[] = [
  { view: "grid", icon: "grid", label: "Grid" },
  { view: "map", icon: "map", label: "Map" },
  { view: "make", icon: "make", label: "Make" },
];

export function Header() {
  const count = basket.value.length;
  const other = theme.value === "dark" ? "light" : "dark";
  return (
    <header class="top">
      <a class="brand" href="." aria-label="Remora studio, start again" onClick={startAgain}>
        <img src="favicon.svg" alt="" width="28" height="28" /> <span>Remora</span>
      </a>
      <SearchBar />
      <nav class="switch" aria-label="Views">
        {VIEWS.map(({ view, icon, label }) => (
          <button key={view} aria-current={place.value.view === view ? "page" : undefined} onClick={() => go({ view })}>
            <Icon name={icon} /> <span>{label}</span>
          </button>
        ))}
      </nav>
      <div class="top-acts">
        <button
          class="icon-button"
          aria-label={`Basket, ${count} clips`}
          title="Basket"
          onClick={() => (basketOpen.value = true)}
        >
          <Icon name="basket" />
          {count > 0 && <i class="badge">{count}</i>}
        </button>
        <button
          class="icon-button"
          aria-label={`Use ${other} colours`}
          title={`${other} colours`}
          onClick={toggleTheme}
        >
          <Icon name={other === "light" ? "sun" : "moon"} />
        </button>
        <button class="icon-button top-keys" aria-label="Keys" title="Keys (?)" onClick={() => (helpOpen.value = true)}>
          <Icon name="keyboard" />
        </button>
      </div>
    </header>
  );
}

function startAgain(event: MouseEvent): void {
  if (event.metaKey || event.ctrlKey) return;
  event.preventDefault();
  go({
    view: "grid",
    text: "",
    motion: null,
    parts: [],
    weights: {},
    more: [],
    less: [],
    filters: {},
    area: null,
    open: null,
    ghost: null,
  });
}
