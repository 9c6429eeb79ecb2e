/** Short messages at the bottom: what happened, what went wrong. Errors stay until they are closed. */
import { signal } from "@preact/signals";
import { Icon } from "./icons";
import "./notices.css";

interface Notice {
  id: number;
  text: string;
  kind: "info" | "error";
}

const notices = signal<Notice[]>([]);
const SHOWN_MS = 5000;
let count = 0;

export function notify(text: string, kind: Notice["kind"] = "info"): void {
  const id = ++count;
  notices.value = [...notices.value.filter((notice) => notice.text !== text).slice(-2), { id, text, kind }];
  if (kind === "info") setTimeout(() => close(id), SHOWN_MS);
}

function close(id: number): void {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

export function Notices() {
  return (
    <div class="notices">
      {notices.value.map(({ id, text, kind }) => (
        <div key={id} class="notice" data-kind={kind} role={kind === "error" ? "alert" : "status"}>
          <span>{text}</span>
          <button class="icon-button" aria-label="Close message" onClick={() => close(id)}>
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}
