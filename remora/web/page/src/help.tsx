/** The keys, and where everything comes from. */
import { signal } from "@preact/signals";
import { Dialog } from "./dialog";
import { library } from "./library";
import "./help.css";

export const helpOpen = signal(false);

const KEYS: [string, string][] = [
  ["/", "search"], ["← ↑ ↓ →", "go through the grid"], ["Enter", "open a clip"], ["b", "put the open clip into the basket"], ["Space", "play or pause"],
  [", .", "one frame back, one on"], ["[ ]", "slower, faster"], ["l", "loop"], ["Esc", "close the clip"], ["g m n", "grid, map, new motion"], ["?", "this list"],
];

export function Help() {
  const about = library.value;
  return (
    <Dialog title="Keys" open={helpOpen.value} onClose={() => (helpOpen.value = false)}>
      <dl class="keys">
        {KEYS.map(([key, told]) => <div key={key}><dt>{key.split(" ").map((one) => <kbd key={one}>{one}</kbd>)}</dt><dd>{told}</dd></div>)}
      </dl>
      {about && <p class="hint">Library {about.name}, version {about.version} · Remora {about.remora} · <a href="licences.txt">licences</a></p>}
    </Dialog>
  );
}
