/** Time from left to right: what is said when, where the asked sentence happens, when which foot stands. */
import type { Caption } from "./api";
import type { Motion } from "./frames";
import { type Moments, MomentsTrack } from "./moments";
import { duration, frameRate, seconds, seek } from "./player";
import "./timeline.css";

const FEET = [
  { side: "left", bits: 3, name: "left foot" },
  { side: "right", bits: 12, name: "right foot" },
] as const;

export function Timeline({
  captions,
  moments,
  motion,
  clipStart,
}: {
  captions: Caption[];
  moments: Moments;
  motion: Motion | null;
  clipStart: number;
}) {
  const whole = duration.value || 1;
  const place = (from: number, to: number) => ({
    left: `${(100 * from) / whole}%`,
    width: `${(100 * Math.max(to - from, 0)) / whole}%`,
  });
  const spans = captions.map((caption) => spanOf(caption, whole, clipStart));
  return (
    <div class="timeline">
      <div class="tracks">
        {captions.map((caption, i) => (
          <div class="track" key={i}>
            <button
              class="track-caption"
              style={place(...spans[i])}
              title={caption.text}
              onClick={() => seek(spans[i][0])}
            >
              {caption.text}
            </button>
          </div>
        ))}
        <MomentsTrack moments={moments} whole={whole} />
        {motion &&
          FEET.map(({ side, bits, name }) => (
            <svg
              key={side}
              class="track-feet"
              data-side={side}
              viewBox={`0 0 ${motion.frames} 1`}
              preserveAspectRatio="none"
              role="img"
              aria-label={`When the ${name} stands`}
            >
              <title>{name} on the floor</title>
              {stands(motion, bits).map(([from, to]) => (
                <rect key={from} x={from} y="0" width={to - from} height="1" />
              ))}
            </svg>
          ))}
        <i class="playhead" style={{ left: `${(100 * seconds.value) / whole}%` }} />
        <input
          class="scrub"
          type="range"
          min="0"
          max={whole}
          step={1 / frameRate.value}
          value={seconds.value}
          aria-label="Time"
          aria-valuetext={`${seconds.value.toFixed(2)} of ${whole.toFixed(2)} seconds`}
          onInput={(event) => seek(Number(event.currentTarget.value))}
        />
      </div>
    </div>
  );
}

/** A caption's seconds count within the take; one without seconds is about the whole clip. */
function spanOf({ start_s, end_s }: Caption, whole: number, clipStart: number): [number, number] {
  if (end_s <= start_s) return [0, whole];
  const inside = (value: number) => Math.min(Math.max(value - clipStart, 0), whole);
  const span: [number, number] = [inside(start_s), inside(end_s)];
  return span[1] > span[0] ? span : [0, whole];
}

function stands({ contacts, frames }: Motion, bits: number): [number, number][] {
  const found: [number, number][] = [];
  for (let t = 0; t < frames; t++) {
    if (!(contacts[t] & bits)) continue;
    const last = found[found.length - 1];
    if (last?.[1] === t) last[1] = t + 1;
    else found.push([t, t + 1]);
  }
  return found;
}
