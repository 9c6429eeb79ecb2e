/** Clips put aside, kept by the browser for each library, and taken along as one zip. */
import { effect, signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { download, send } from "./api";
import { Dialog } from "./dialog";
import { FigureView } from "./figure-view";
import { Icon } from "./icons";
import { library } from "./library";
import { notify } from "./notices";
import type { Item } from "./results";
import "./basket.css";

type Kept = Pick<Item, "id" | "title" | "seconds">;

const FORMATS = ["bvh", "glb", "npy"];
const key = (): string => `remora.basket.${library.value?.uuid ?? ""}`;

export const basket = signal<Kept[]>([]);
export const basketOpen = signal(false);

effect(() => {
  if (library.value) basket.value = JSON.parse(localStorage.getItem(key()) ?? "[]") as Kept[];
});

export function toggleBasket({ id, title, seconds }: Kept): void {
  const limit = library.value?.limits.export_clips ?? Infinity;
  if (inBasket(id)) keep(basket.value.filter((kept) => kept.id !== id));
  else if (basket.value.length >= limit)
    notify(`The basket holds ${limit} clips at most: export or remove some.`, "error");
  else keep([...basket.value, { id, title, seconds }]);
}

export const inBasket = (id: string): boolean => basket.value.some((kept) => kept.id === id);

function keep(clips: Kept[]): void {
  basket.value = clips;
  localStorage.setItem(key(), JSON.stringify(clips));
}

export function Basket() {
  const [formats, setFormats] = useState(FORMATS);
  const [busy, setBusy] = useState(false);
  const clips = basket.value;
  const toggle = (format: string) =>
    setFormats(formats.includes(format) ? formats.filter((other) => other !== format) : [...formats, format]);
  const take = async () => {
    setBusy(true);
    try {
      await download(await send("/api/export", { clips: clips.map(({ id }) => id), formats }), "motions.zip");
    } catch (fault) {
      notify((fault as Error).message, "error");
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={`Basket · ${clips.length} clip${clips.length === 1 ? "" : "s"}`}
      open={basketOpen.value}
      onClose={() => (basketOpen.value = false)}
    >
      {clips.length === 0 ? (
        <p class="empty">
          Nothing here yet. Put clips aside with <kbd>b</kbd> or the basket on a card, and take them along as one file.
        </p>
      ) : (
        <>
          <ul class="basket">
            {clips.map((clip) => (
              <li key={clip.id}>
                <span class="basket-figure">
                  <FigureView clip={clip.id} playing={false} />
                </span>
                <span class="basket-title" title={clip.id}>
                  {clip.title}
                </span>
                <span class="number">{clip.seconds.toFixed(1)} s</span>
                <button
                  class="icon-button"
                  aria-label={`Remove from basket: ${clip.title}`}
                  onClick={() => toggleBasket(clip)}
                >
                  <Icon name="close" />
                </button>
              </li>
            ))}
          </ul>
          <div class="basket-take">
            <fieldset class="choices">
              <legend class="sr-only">Formats</legend>
              {FORMATS.map((format) => (
                <label key={format}>
                  <input type="checkbox" checked={formats.includes(format)} onChange={() => toggle(format)} />{" "}
                  {format.toUpperCase()}
                </label>
              ))}
            </fieldset>
            <button class="text-button" onClick={() => keep([])}>
              empty it
            </button>
            <button class="primary" disabled={busy || formats.length === 0} onClick={take}>
              <Icon name="download" /> {busy ? "packing…" : "Export zip"}
            </button>
          </div>
        </>
      )}
    </Dialog>
  );
}
