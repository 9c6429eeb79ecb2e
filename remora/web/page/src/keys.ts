/** Keys of the whole page; none of them while somebody types. */
import { basketOpen, toggleBasket } from "./basket";
import { helpOpen } from "./help";
import { go, place } from "./place";
import { results } from "./results";
import { SEARCH_ID } from "./search-bar";
import { viewerKey } from "./viewer";

export function onKey(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  if (event.ctrlKey || event.metaKey || event.altKey || basketOpen.value || helpOpen.value) return;
  if (target.matches("input:not([type=checkbox], [type=range]), textarea, select")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  if (event.key === " " && target.matches("button, summary, a, input")) return;
  const keys: Record<string, () => void> = {
    "/": () => document.getElementById(SEARCH_ID)?.focus(),
    "?": () => (helpOpen.value = true),
    g: () => go({ view: "grid" }),
    m: () => go({ view: "map" }),
    n: () => go({ view: "make" }),
    b: () => {
      const id = target.closest<HTMLElement>("[data-clip]")?.dataset.clip ?? place.value.open;
      const item = results.value.items.find((one) => one.id === id);
      if (item) toggleBasket(item);
    },
  };
  if (keys[event.key]) keys[event.key]();
  else if (!(place.value.open && viewerKey(event.key))) return;
  event.preventDefault();
}
