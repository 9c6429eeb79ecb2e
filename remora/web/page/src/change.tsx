/** A span of the open clip, or some of its parts, made anew by a sentence. */
import { useState } from "preact/hooks";
import { PART_NAMES, PARTS } from "./body";
import { edit } from "./jobs";
import { go } from "./place";
import { duration, seconds } from "./player";
import "./change.css";

const SHORTEST_S = 0.5;

export function Change({ id }: { id: string }) {
  const [text, setText] = useState("");
  const [parts, setParts] = useState<string[]>([]);
  const [span, setSpan] = useState<[number, number] | null>(null);
  const [from, to] = span ?? [0, duration.value];
  const toggle = (part: string) =>
    setParts(parts.includes(part) ? parts.filter((other) => other !== part) : [...parts, part]);
  const submit = (event: Event) => {
    event.preventDefault();
    void edit({ clip: id, text: text.trim(), start_s: span && from, end_s: span && to, parts });
    go({ view: "make", open: null, ghost: null });
  };
  return (
    <details class="panel change">
      <summary>Change it</summary>
      <form onSubmit={submit}>
        <label class="field">
          <span>What should happen instead?</span>
          <textarea rows={2} required value={text} onInput={(event) => setText(event.currentTarget.value)} />
        </label>
        <p class="hint">
          From <b class="number">{from.toFixed(2)}</b> to <b class="number">{to.toFixed(2)} s</b>
          <button
            type="button"
            class="text-button"
            onClick={() => setSpan([Math.min(seconds.value, to - SHORTEST_S), to])}
          >
            from here
          </button>
          <button
            type="button"
            class="text-button"
            onClick={() => setSpan([from, Math.max(seconds.value, from + SHORTEST_S)])}
          >
            to here
          </button>
        </p>
        <fieldset class="choices">
          <legend class="hint">Only these parts (none: the whole body)</legend>
          {PARTS.map((part) => (
            <label key={part}>
              <input type="checkbox" checked={parts.includes(part)} onChange={() => toggle(part)} /> {PART_NAMES[part]}
            </label>
          ))}
        </fieldset>
        <button class="primary" disabled={!text.trim()}>
          Make
        </button>
      </form>
    </details>
  );
}
