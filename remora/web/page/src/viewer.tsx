/** The open clip: stage, clock, timeline, facts, and what one can do with it. */
import { useEffect, useRef, useState } from "preact/hooks";
import { type Answer, useAnswer } from "./answer";
import { type Caption, type Clip, type Comparison, exportUrl, path } from "./api";
import { inBasket, toggleBasket } from "./basket";
import { loadMotion, type Motion, secondsOf } from "./frames";
import { Change } from "./change";
import { Icon } from "./icons";
import { library } from "./library";
import { useMoments } from "./moments";
import { notify } from "./notices";
import { go, place } from "./place";
import { changeSpeed, duration, frameRate, looping, play, playing, seconds, speed, SPEEDS, stepFrame } from "./player";
import { itemOfClip, results } from "./results";
import { StageView } from "./stage-view";
import { calm } from "./theme";
import { Timeline } from "./timeline";
import { shortName } from "./uploads";
import { Why } from "./why";
import "./viewer.css";

export function Viewer({ id }: { id: string }) {
  const { ghost, text } = place.value;
  const clip = useAnswer<Clip>(`/api/clips/${path(id)}`);
  const motion = useMotion(id);
  const other = useMotion(ghost);
  const likeness = useAnswer<Comparison>(ghost && `/api/compare?a=${path(id)}&b=${path(ghost)}`);
  const fitting = useAnswer<{ captions: Caption[] }>(id.includes(":") && `/api/describe/${path(id)}?k=3`);
  const moments = useMoments(clip.value, text.trim());
  const hit = results.value.items.find((item) => item.id === id);
  const title = clip.value ? itemOfClip(clip.value).title : (hit?.title ?? shortName(id));

  useEffect(() => {
    if (!motion.value) return;
    duration.value = Math.max(secondsOf(motion.value), other.value ? secondsOf(other.value) : 0);
    frameRate.value = motion.value.fps;
  }, [motion.value, other.value]);
  useEffect(() => {
    if (!motion.value) return;
    seconds.value = 0;
    play(!calm.matches);
    return () => play(false);
  }, [motion.value]);

  const panel = useRef<HTMLElement>(null);
  useEffect(() => {
    panel.current!.focus({ preventScroll: true });
    return () => document.querySelector<HTMLElement>(`[data-clip="${CSS.escape(id)}"]`)?.focus({ preventScroll: true });
  }, []);

  const fault = motion.fault ?? clip.fault;
  return (
    <aside class="viewer" ref={panel} tabIndex={-1} aria-label={`Clip: ${title}`}>
      <header class="viewer-head">
        <h2 title={id}>{title}</h2>
        <button
          class="icon-button"
          aria-label="Close clip"
          title="Close (Esc)"
          onClick={() => go({ open: null, ghost: null })}
        >
          <Icon name="close" />
        </button>
      </header>
      {fault ? (
        <div class="viewer-fault" role="alert">
          <b>This clip cannot be shown</b>
          <p>{fault}</p>
        </div>
      ) : (
        <>
          <StageView motion={motion.value} ghost={ghost ? other.value : null} />
          <Transport />
          <Timeline
            captions={clip.value?.captions ?? []}
            moments={moments}
            motion={motion.value}
            clipStart={clip.value?.start_s ?? 0}
          />
          <div class="viewer-acts">
            <button onClick={() => go({ motion: id, text: "", more: [], less: [], view: "grid" })}>
              <Icon name="search" /> Similar
            </button>
            <button aria-pressed={inBasket(id)} onClick={() => toggleBasket({ id, title, seconds: duration.value })}>
              <Icon name={inBasket(id) ? "check" : "basket"} /> Basket
            </button>
            <Export id={id} />
            <button title="Copy the address of what you see" onClick={copyLink}>
              <Icon name="link" /> Link
            </button>
          </div>
        </>
      )}
      {ghost && (
        <section class="panel">
          <h2>
            Beside {shortName(ghost)}{" "}
            <button class="text-button" onClick={() => go({ open: ghost, ghost: id })}>
              swap
            </button>
            <button class="text-button" onClick={() => go({ ghost: null })}>
              end
            </button>
          </h2>
          {(other.fault ?? likeness.fault) ? (
            <p class="hint" role="alert">
              {other.fault ?? likeness.fault}
            </p>
          ) : (
            likeness.value && (
              <>
                <p class="hint">
                  Whole body <b class="number">{likeness.value.whole.toFixed(2)}</b>, by part:
                </p>
                <Why scores={likeness.value.parts} />
              </>
            )
          )}
        </section>
      )}
      {!ghost && hit?.parts && (
        <section class="panel">
          <h2>
            Why this clip <span class="number">{hit.score?.toFixed(2)}</span>
          </h2>
          <Why scores={hit.parts} />
        </section>
      )}
      {fitting.value && fitting.value.captions.length > 0 && (
        <section class="panel">
          <h2>What it looks like</h2>
          <ul class="plain">
            {fitting.value.captions.map(({ text: told }) => (
              <li key={told}>{told}</li>
            ))}
          </ul>
        </section>
      )}
      {library.value?.features.generate && <Change key={id} id={id} />}
      {clip.value && <Facts clip={clip.value} />}
    </aside>
  );
}

function Transport() {
  const whole = duration.value;
  return (
    <div class="transport">
      <button class="icon-button" aria-label="Previous frame" title="Previous frame (,)" onClick={() => stepFrame(-1)}>
        <Icon name="step_back" />
      </button>
      <button
        class="icon-button transport-play"
        aria-label={playing.value ? "Pause" : "Play"}
        title="Space"
        onClick={() => play(!playing.value)}
      >
        <Icon name={playing.value ? "pause" : "play"} />
      </button>
      <button class="icon-button" aria-label="Next frame" title="Next frame (.)" onClick={() => stepFrame(1)}>
        <Icon name="step_on" />
      </button>
      <button
        class="icon-button"
        aria-label="Loop"
        title="Loop (l)"
        aria-pressed={looping.value}
        onClick={() => (looping.value = !looping.value)}
      >
        <Icon name="loop" />
      </button>
      <select
        aria-label="Speed"
        title="Speed ([ and ])"
        value={String(speed.value)}
        onChange={(event) => (speed.value = Number(event.currentTarget.value))}
      >
        {SPEEDS.map((value) => (
          <option key={value} value={String(value)}>
            {value} ×
          </option>
        ))}
      </select>
      <span class="number transport-time">
        {seconds.value.toFixed(2)} / {whole.toFixed(2)} s
      </span>
    </div>
  );
}

function Export({ id }: { id: string }) {
  return (
    <details class="menu">
      <summary>
        <Icon name="download" /> Export
      </summary>
      <ul>
        {library.value?.export_formats.map((format) => (
          <li key={format}>
            <a href={exportUrl(id, format)} download>
              {format.toUpperCase()}
            </a>
          </li>
        ))}
      </ul>
    </details>
  );
}

function Facts({ clip }: { clip: Clip }) {
  const facts: [string, string | undefined][] = [
    ["Action", clip.labels.class_id?.replaceAll("_", " ")],
    ["Style", clip.labels.style],
    ["Source", clip.source],
    ["Take", clip.take],
    ["In the take", clip.end_s > clip.start_s ? `${clip.start_s.toFixed(2)}–${clip.end_s.toFixed(2)} s` : ""],
    ["Frames", `${clip.n_frames} at ${clip.fps} fps`],
    ["Person", clip.subject],
    ["Split", clip.split],
    ["Licence", clip.licence],
    ["Origin", clip.origin],
    ["Mirrored", clip.mirrored ? "yes" : ""],
  ];
  return (
    <section class="panel">
      <h2>About it</h2>
      <dl class="facts">
        {facts
          .filter(([, value]) => value)
          .map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
    </section>
  );
}

function useMotion(id: string | null): Answer<Motion> {
  const [answer, setAnswer] = useState<Answer<Motion>>({ value: null, fault: null });
  useEffect(() => {
    setAnswer({ value: null, fault: null });
    if (!id) return;
    let wanted = true;
    loadMotion(id).then(
      (value) => wanted && setAnswer({ value, fault: null }),
      (fault: Error) => wanted && setAnswer({ value: null, fault: fault.message }),
    );
    return () => void (wanted = false);
  }, [id]);
  return answer;
}

async function copyLink(): Promise<void> {
  try {
    await navigator.clipboard.writeText(location.href);
    notify("The address is on the clipboard.");
  } catch {
    notify(`Copy it from the address bar: ${location.href}`);
  }
}

/** Keys of the open clip; whether the key was one. */
export function viewerKey(key: string): boolean {
  const keys: Record<string, () => void> = {
    " ": () => play(!playing.value),
    ",": () => stepFrame(-1),
    ".": () => stepFrame(1),
    l: () => (looping.value = !looping.value),
    "[": () => changeSpeed(-1),
    "]": () => changeSpeed(1),
    Escape: () => go({ open: null, ghost: null }),
  };
  keys[key]?.();
  return key in keys;
}
