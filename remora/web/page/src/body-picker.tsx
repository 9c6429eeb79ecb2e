/** A drawing of the body to pick parts on; the person faces us, so their left is at our right. */
import { PART_NAMES, PARTS, sideOf } from "./body";
import { go, place } from "./place";
import "./body-picker.css";

const OUTLINES: Record<string, string> = {
  right_arm: "M52 56 36 66 27 98 22 126",
  left_arm: "M88 56 104 66 113 98 118 126",
  backbone: "M70 22v.010M60 56H80L77 88H63Z",
  root: "M61 106H79",
  right_leg: "M60 124 55 164 53 204 45 209",
  left_leg: "M80 124 85 164 87 204 95 209",
};

export function BodyPicker() {
  const { parts, weights } = place.value;
  const toggle = (part: string) => {
    const chosen = parts.includes(part) ? parts.filter((other) => other !== part) : [...parts, part];
    const kept = Object.fromEntries(Object.entries(weights).filter(([name]) => chosen.includes(name)));
    go({ parts: chosen, weights: kept });
  };
  return (
    <section class="panel" aria-labelledby="parts-title">
      <h2 id="parts-title">Body parts</h2>
      <div class="picker">
        <svg viewBox="8 4 124 216" aria-hidden="true">
          {PARTS.map((part) => (
            <g
              key={part}
              class="picker-part"
              data-side={sideOf(part)}
              data-on={parts.includes(part) || undefined}
              onClick={() => toggle(part)}
            >
              <path class="picker-hit" d={OUTLINES[part]} />
              <path class="picker-shape" data-part={part} d={OUTLINES[part]} />
              {part === "backbone" && <circle class="picker-head" cx="70" cy="24" r="13" />}
            </g>
          ))}
        </svg>
        <ul class="picker-list">
          {PARTS.map((part) => (
            <li key={part}>
              <button
                class="picker-name"
                data-side={sideOf(part)}
                aria-pressed={parts.includes(part)}
                onClick={() => toggle(part)}
              >
                {PART_NAMES[part]}
              </button>
            </li>
          ))}
        </ul>
      </div>
      {parts.length === 0 && <p class="hint">Pick parts to compare only by them.</p>}
      {parts.length > 1 && (
        <div class="weights">
          {parts.map((part) => (
            <label key={part}>
              <span>{PART_NAMES[part]}</span>
              <input
                type="range"
                min="0.25"
                max="3"
                step="0.25"
                value={weights[part] ?? 1}
                onInput={(event) => go({ weights: { ...weights, [part]: Number(event.currentTarget.value) } }, true)}
              />
              <output>{(weights[part] ?? 1).toFixed(2)} ×</output>
            </label>
          ))}
        </div>
      )}
    </section>
  );
}
