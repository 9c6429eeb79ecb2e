/** The answer as moving figures, its first line, and what stands there while there is none. */
import { useEffect, useRef, useState } from "preact/hooks";
import { Card } from "./card";
import { Icon } from "./icons";
import { library } from "./library";
import { go, isQuestion, place } from "./place";
import { loadMore, results, retry } from "./results";
import "./grid.css";

const SKELETONS = 12;

export function Grid() {
  const [playAll, setPlayAll] = useState(false);
  const { state, items, next, fault, notes } = results.value;
  return (
    <section class="answer" aria-label="Clips" aria-busy={state === "loading"}>
      {!isQuestion.value && <Examples />}
      <div class="answer-line">
        <Summary />
        <button class="text-button" aria-pressed={playAll} onClick={() => setPlayAll(!playAll)}>
          <Icon name={playAll ? "pause" : "play"} /> {playAll ? "Pause all" : "Play all"}
        </button>
      </div>
      {notes.map((note) => (
        <p class="hint" key={note}>
          {note}
        </p>
      ))}
      {state === "failed" ? (
        <Nothing title="That did not work" text={fault}>
          <button class="primary" onClick={retry}>
            Try again
          </button>
        </Nothing>
      ) : state === "ready" && items.length === 0 ? (
        <NoClips />
      ) : (
        <div class="grid" data-stale={(state === "loading" && items.length > 0) || undefined} onKeyDown={moveFocus}>
          {items.map((item) => (
            <Card key={item.id} item={item} playAll={playAll} />
          ))}
          {items.length === 0 &&
            Array.from({ length: SKELETONS }, (_, i) => <div key={i} class="card card-waiting" aria-hidden="true" />)}
        </div>
      )}
      {next !== null && items.length > 0 && <More key={next} />}
    </section>
  );
}

function Summary() {
  const { state, items, total, took_ms } = results.value;
  const all = library.value?.clips ?? 0;
  const encoder = library.value?.models.encoder;
  if (state === "failed") return <p class="summary" />;
  if (state === "loading" && items.length === 0) {
    return (
      <p class="summary" role="status">
        {encoder === "loading" && isQuestion.value
          ? "The encoder is still loading; the answer comes by itself."
          : "Searching…"}
      </p>
    );
  }
  const count = (value: number) => value.toLocaleString("en");
  const narrowed = Object.keys(place.value.filters).length > 0 || place.value.area !== null;
  const among = total === all ? `${count(all)} clips` : `${count(total)} of ${count(all)} clips`;
  return (
    <p class="summary" role="status">
      {isQuestion.value ? (
        <>
          <b>Best {count(items.length)}</b> of{" "}
          {narrowed ? `the ${count(total)} that pass the filters` : `${count(total)} clips`}
        </>
      ) : (
        <b>{among}</b>
      )}
      <span class="number"> · {took_ms.toFixed(0)} ms</span>
    </p>
  );
}

function Examples() {
  const examples = library.value?.examples.slice(0, 6) ?? [];
  if (!examples.length) return null;
  return (
    <div class="examples">
      <h2>What should the body do?</h2>
      <div class="examples-row">
        {examples.map((text) => (
          <button key={text} class="example" onClick={() => go({ text })}>
            {text}
          </button>
        ))}
      </div>
    </div>
  );
}

function NoClips() {
  const { filters, area } = place.value;
  if (library.value?.clips === 0) {
    return (
      <Nothing
        title="This library is empty"
        text="Index a folder of motions and they appear here by themselves: remora index FOLDER --library YOUR-LIBRARY"
      />
    );
  }
  if (Object.keys(filters).length || area) {
    return (
      <Nothing title="No clip passes all filters" text="Take one of them back, or all.">
        <button class="primary" onClick={() => go({ filters: {}, area: null })}>
          Clear the filters
        </button>
      </Nothing>
    );
  }
  return <Nothing title="Nothing found" text="Ask in other words." />;
}

function Nothing({ title, text, children }: { title: string; text: string; children?: preact.ComponentChildren }) {
  return (
    <div class="nothing" role="status">
      <svg viewBox="0 0 120 60" aria-hidden="true">
        <path d="M14 46h92M34 46l16-10 22 2 14-8M50 36l-4-12 10-6M86 30l10 4" />
        <circle cx="98" cy="24" r="6" />
      </svg>
      <h2>{title}</h2>
      <p>{text}</p>
      {children}
    </div>
  );
}

/** Loads the next page when it comes near; a button where that is not seen. */
function More() {
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    const watcher = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && loadMore(), {
      rootMargin: "200px",
    });
    watcher.observe(button.current!);
    return () => watcher.disconnect();
  }, []);
  return (
    <button ref={button} class="text-button answer-more" onClick={loadMore}>
      more
    </button>
  );
}

/** Arrow keys go to the neighbouring card. */
function moveFocus(event: KeyboardEvent): void {
  const steps: Record<string, [number, number]> = {
    ArrowLeft: [-1, 0],
    ArrowRight: [1, 0],
    ArrowUp: [0, -1],
    ArrowDown: [0, 1],
  };
  const step = steps[event.key];
  const from = event.target as HTMLElement;
  if (!step || !from.matches(".card-open")) return;
  const cards = [...document.querySelectorAll<HTMLElement>(".card-open")];
  const here = from.getBoundingClientRect();
  const inRow = cards.filter((card) => Math.abs(card.getBoundingClientRect().top - here.top) < 4).length;
  const target = cards[cards.indexOf(from) + step[0] + step[1] * inRow];
  if (!target) return;
  event.preventDefault();
  target.focus();
  target.scrollIntoView({ block: "nearest" });
}
