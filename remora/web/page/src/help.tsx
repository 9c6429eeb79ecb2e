/** The keys, and where everything comes from. */
import { signal } from "@preact/signals";
import type { Version } from "./api";
import { Dialog } from "./dialog";
import { useAnswer } from "./answer";
import { library } from "./library";
import "./help.css";

export const helpOpen = signal(false);

const KEYS: [string, string][] = [
  ["/", "search"],
  ["← ↑ ↓ →", "go through the grid"],
  ["Enter", "open a clip"],
  ["b", "put the open clip into the basket"],
  ["Space", "play or pause"],
  [", .", "one frame back, one on"],
  ["[ ]", "slower, faster"],
  ["l", "loop"],
  ["Esc", "close the clip"],
  ["g m n", "grid, map, new motion"],
  ["?", "this list"],
];

export function Help() {
  const about = library.value;
  return (
    <Dialog title="Keys and library" open={helpOpen.value} onClose={() => (helpOpen.value = false)}>
      <dl class="keys">
        {KEYS.map(([key, told]) => (
          <div key={key}>
            <dt>
              {key.split(" ").map((one) => (
                <kbd key={one}>{one}</kbd>
              ))}
            </dt>
            <dd>{told}</dd>
          </div>
        ))}
      </dl>
      {about && <Versions key={about.version} />}
      {about && (
        <p class="hint">
          Remora {about.remora} · <a href="licences.txt">licences</a>
        </p>
      )}
    </Dialog>
  );
}

const SHOWN = 6;

function Versions() {
  const { value } = useAnswer<{ versions: Version[] }>("/api/versions");
  return (
    <table class="versions">
      <caption>{library.value!.name}: its last versions</caption>
      <thead>
        <tr>
          <th>version</th>
          <th>when</th>
          <th>clips</th>
          <th>added</th>
          <th>taken out</th>
          <th>note</th>
        </tr>
      </thead>
      <tbody>
        {value?.versions.slice(0, SHOWN).map((one) => (
          <tr key={one.version}>
            <td>{one.version}</td>
            <td>{one.time.slice(0, 16).replace("T", " ")}</td>
            <td>{one.rows.toLocaleString("en")}</td>
            <td>{one.added}</td>
            <td>{one.deleted}</td>
            <td>{one.note}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
