/** When the asked sentence happens in the open clip: marks on the timeline over the curve of how well it fits. */
import { useEffect, useState } from "preact/hooks";
import { type Clip, type ClipMoments, post } from "./api";
import { library } from "./library";
import { seek } from "./player";
import "./moments.css";

export interface Moments {
  state: "none" | "looking" | "found" | "failed";
  found: ClipMoments | null;
  fault: string;
}
const NONE: Moments = { state: "none", found: null, fault: "" };
const TYPING_MS = 400;
const SHORTEST_S = 2; // of a clip in which there is anything to be found

/** Asked anew when the sentence or the clip is another one; seconds are made those of the clip. */
export function useMoments(clip: Clip | null, text: string): Moments {
  const [moments, setMoments] = useState<Moments>(NONE);
  const offered = library.value?.features.moments ?? false;
  useEffect(() => {
    if (!offered || !text || !clip || clip.duration_s < SHORTEST_S) return setMoments(NONE);
    const stop = new AbortController();
    setMoments({ state: "looking", found: null, fault: "" });
    const asking = setTimeout(
      () =>
        post<{ moments: ClipMoments[] }>("/api/moments", { text, clip: clip.clip_id }, stop.signal).then(
          (answer) => setMoments({ state: "found", found: inClip(answer.moments[0], clip), fault: "" }),
          (fault: Error) => !stop.signal.aborted && setMoments({ state: "failed", found: null, fault: fault.message }),
        ),
      TYPING_MS,
    );
    return () => (clearTimeout(asking), stop.abort());
  }, [clip, text, offered]);
  return moments;
}

/** Seconds of the clip; a moment that lies mostly in a better one would only hide it. */
function inClip(found: ClipMoments, clip: Clip): ClipMoments {
  const inside = (second: number) => Math.min(Math.max(second - clip.start_s, 0), clip.duration_s);
  const kept: ClipMoments["moments"] = [];
  for (const one of found.moments) {
    const [start_s, end_s] = [inside(one.start_s), inside(one.end_s)];
    const hidden = kept.some(
      (other) => Math.min(end_s, other.end_s) - Math.max(start_s, other.start_s) > (end_s - start_s) / 2,
    );
    if (!hidden) kept.push({ ...one, start_s, end_s });
  }
  return { ...found, moments: kept, times: found.times.map(inside) };
}

const CURVE = 100; // units of its height

export function MomentsTrack({ moments, whole }: { moments: Moments; whole: number }) {
  const { state, found, fault } = moments;
  if (state === "none") return null;
  if (!found) {
    return (
      <p class="moments-said" role="status">
        {state === "failed" ? fault : "Looking for where it happens…"}
      </p>
    );
  }
  const best = Math.max(...found.scores, 1e-3);
  const height = (score: number) => CURVE * (1 - Math.min(Math.max(score / best, 0), 1));
  const line = found.times.map((time, i) => `${time},${height(found.scores[i])}`).join(" ");
  return (
    <div class="track track-moments" role="group" aria-label={`Where “${found.text}” happens`}>
      <svg class="moments-curve" viewBox={`0 0 ${whole} ${CURVE}`} preserveAspectRatio="none" aria-hidden="true">
        <polygon points={`0,${CURVE} ${line} ${whole},${CURVE}`} />
      </svg>
      {found.moments.map(({ rank, start_s, end_s, score }) => (
        <button
          key={rank}
          class="track-moment"
          data-best={rank === 1 || undefined}
          style={{
            left: `${(100 * start_s) / whole}%`,
            width: `${(100 * (Math.min(end_s, whole) - start_s)) / whole}%`,
          }}
          aria-label={`Moment ${rank}: ${start_s.toFixed(1)} to ${end_s.toFixed(1)} seconds, score ${score.toFixed(2)}`}
          title={`“${found.text}”: ${start_s.toFixed(1)}–${end_s.toFixed(1)} s, score ${score.toFixed(2)}`}
          onClick={() => seek(start_s)}
        >
          {rank}
        </button>
      ))}
    </div>
  );
}
