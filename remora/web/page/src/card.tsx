/** One clip of the grid: moves while the pointer or the focus is on it, opens on a click, acts by the row of buttons. */
import { useEffect, useRef, useState } from "preact/hooks";
import { inBasket, toggleBasket } from "./basket";
import { FigureView } from "./figure-view";
import { Icon } from "./icons";
import { library } from "./library";
import { go, isQuestion, place } from "./place";
import type { Item } from "./results";
import { touch } from "./theme";
import { WhySmall } from "./why";
import "./card.css";

export function Card({ item, playAll }: { item: Item; playAll: boolean }) {
  const [over, setOver] = useState(false);
  const inView = useInView();
  const { id, title, source, seconds, score, parts } = item;
  const { open, ghost, more, less } = place.value;
  const kept = inBasket(id);
  const toggled = (list: string[]) => (list.includes(id) ? list.filter((other) => other !== id) : [...list, id]);
  const compare = () => (open && open !== id ? go({ ghost: ghost === id ? null : id }) : go({ open: id }));
  return (
    <article
      class="card"
      ref={inView.element}
      data-open={open === id || undefined}
      data-ghost={ghost === id || undefined}
      onPointerEnter={() => setOver(true)}
      onPointerLeave={() => setOver(false)}
      onFocusCapture={() => setOver(true)}
      onBlurCapture={() => setOver(false)}
    >
      <button
        class="card-open"
        data-clip={id}
        aria-label={`Watch: ${title}, ${seconds.toFixed(1)} seconds${score === null ? "" : `, score ${score.toFixed(2)}`}`}
        onClick={() => go({ open: id, ghost: null })}
      >
        <FigureView clip={id} playing={over || ((playAll || touch.matches) && inView.seen)} />
      </button>
      {score !== null && (
        <span class="card-score number" aria-hidden="true">
          {score.toFixed(2)}
        </span>
      )}
      <div class="card-text">
        <p class="card-title" title={title}>
          {title}
        </p>
        <p class="card-facts">
          {parts && <WhySmall scores={parts} />}
          <span class="card-source">{source}</span>
          <span class="number">{seconds.toFixed(1)} s</span>
        </p>
      </div>
      <div class="card-acts">
        {library.value?.features.feedback && (
          <>
            <button
              class="icon-button"
              aria-label={`More like: ${title}`}
              title="More like this"
              aria-pressed={more.includes(id)}
              onClick={() => go({ more: toggled(more), less: less.filter((other) => other !== id) })}
            >
              <Icon name="more" />
            </button>
            {/* away from a clip is a direction only beside a question */}
            {(isQuestion.value || less.includes(id)) && (
              <button
                class="icon-button"
                aria-label={`Less like: ${title}`}
                title="Less like this"
                aria-pressed={less.includes(id)}
                onClick={() => go({ less: toggled(less), more: more.filter((other) => other !== id) })}
              >
                <Icon name="less" />
              </button>
            )}
          </>
        )}
        <button
          class="icon-button"
          aria-label={`Compare with the open clip: ${title}`}
          title={open && open !== id ? "Show as ghost of the open clip" : "Open to compare"}
          aria-pressed={ghost === id}
          onClick={compare}
        >
          <Icon name="ghost" />
        </button>
        <button
          class="icon-button"
          aria-label={`Basket: ${title}`}
          title={kept ? "Take out of the basket" : "Put into the basket"}
          aria-pressed={kept}
          onClick={() => toggleBasket(item)}
        >
          <Icon name={kept ? "check" : "basket"} />
        </button>
      </div>
    </article>
  );
}

/** Whether most of an element is inside the window. */
function useInView() {
  const element = useRef<HTMLElement>(null);
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    const watcher = new IntersectionObserver((entries) => setSeen(entries[entries.length - 1].isIntersecting), {
      threshold: 0.5,
    });
    watcher.observe(element.current!);
    return () => watcher.disconnect();
  }, []);
  return { element, seen };
}
