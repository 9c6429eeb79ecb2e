/** The one search box: words, a dropped file, and as chips whatever else the question is made of. */
import { useEffect, useRef } from "preact/hooks";
import { Icon, type IconName } from "./icons";
import { library } from "./library";
import { go, place } from "./place";
import { askByFile, shortName, uploading } from "./uploads";
import { PART_NAMES } from "./body";
import "./search-bar.css";

export const SEARCH_ID = "question";

export function SearchBar() {
  const file = useRef<HTMLInputElement>(null);
  const { text, motion, parts, more, less, area } = place.value;
  const without = (list: string[], item: string) => list.filter((other) => other !== item);
  return (
    <form
      class="search"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        go({ view: place.value.view === "make" ? "grid" : place.value.view });
        (document.activeElement as HTMLElement | null)?.blur();
      }}
    >
      <div class="search-box">
        <Icon name="search" />
        {motion && (
          <Chip icon="play" label={`like ${shortName(motion)}`} clip={motion} onRemove={() => go({ motion: null })} />
        )}
        {more.map((id) => (
          <Chip
            key={id}
            icon="more"
            label={`more ${shortName(id)}`}
            clip={id}
            onRemove={() => go({ more: without(more, id) })}
          />
        ))}
        {less.map((id) => (
          <Chip
            key={id}
            icon="less"
            label={`less ${shortName(id)}`}
            clip={id}
            onRemove={() => go({ less: without(less, id) })}
          />
        ))}
        {parts.map((part) => (
          <Chip
            key={part}
            label={`by ${PART_NAMES[part] ?? part}`}
            onRemove={() => go({ parts: without(parts, part) })}
          />
        ))}
        {area && <Chip icon="map" label="area of the map" onRemove={() => go({ area: null })} />}
        <input
          id={SEARCH_ID}
          type="search"
          autocomplete="off"
          spellcheck={false}
          enterkeyhint="search"
          maxLength={library.value?.limits.text}
          aria-label="Search for a motion in words"
          placeholder={motion || more.length ? "and in words…" : "someone waves with the left hand…"}
          value={text}
          onInput={(event) =>
            go({ text: event.currentTarget.value, view: place.value.view === "make" ? "grid" : place.value.view }, true)
          }
        />
        {uploading.value && (
          <span class="search-busy" role="status">
            reading {uploading.value}…
          </span>
        )}
        <kbd class="search-key" aria-hidden="true">
          /
        </kbd>
        <button
          type="button"
          class="icon-button"
          aria-label="Search by a motion file"
          title="Search by a motion file (or drop it anywhere)"
          onClick={() => file.current?.click()}
        >
          <Icon name="upload" />
        </button>
        <input
          ref={file}
          type="file"
          hidden
          accept={library.value?.upload_formats.map((suffix) => `.${suffix}`).join(",")}
          onChange={(event) => {
            const chosen = event.currentTarget.files?.[0];
            event.currentTarget.value = "";
            if (chosen) void askByFile(chosen);
          }}
        />
      </div>
    </form>
  );
}

function Chip({
  label,
  icon,
  clip,
  onRemove,
}: {
  label: string;
  icon?: IconName;
  clip?: string;
  onRemove: () => void;
}) {
  return (
    <span class="chip">
      {icon && <Icon name={icon} />}
      {clip ? (
        <button
          type="button"
          class="chip-label"
          title={`Watch ${clip}`}
          onClick={() => go({ open: clip, ghost: null })}
        >
          {label}
        </button>
      ) : (
        <span class="chip-label">{label}</span>
      )}
      <button type="button" class="chip-remove" aria-label={`Remove: ${label}`} onClick={onRemove}>
        <Icon name="close" />
      </button>
    </span>
  );
}

/** A file dragged over the window is taken wherever it is dropped. */
export function DropTarget() {
  const overlay = useRef<HTMLDivElement>(null);
  useEffect(() => {
    let depth = 0;
    const show = (on: boolean) => overlay.current?.toggleAttribute("data-on", on);
    const carriesFile = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const handlers: Record<string, (event: DragEvent) => void> = {
      dragenter: (event) => carriesFile(event) && show(++depth > 0),
      dragleave: (event) => carriesFile(event) && show(--depth > 0),
      dragover: (event) => carriesFile(event) && event.preventDefault(),
      drop: (event) => {
        const dropped = event.dataTransfer?.files[0];
        show((depth = 0) > 0);
        if (!dropped) return;
        event.preventDefault();
        void askByFile(dropped);
      },
    };
    const entries = Object.entries(handlers) as [keyof WindowEventMap, EventListener][];
    entries.forEach(([name, handler]) => addEventListener(name, handler));
    return () => entries.forEach(([name, handler]) => removeEventListener(name, handler));
  }, []);
  return (
    <div ref={overlay} class="drop" aria-hidden="true">
      <Icon name="upload" />
      <b>Drop a motion to search by it</b>
      <span>{library.value?.upload_formats.join(", ")}</span>
    </div>
  );
}
