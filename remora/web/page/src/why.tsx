/** Why a clip fits: the similarity of each body part, small on a card and with figures in the viewer. */
import type { PartScores } from "./api";
import { PART_NAMES, PARTS, sideOf } from "./body";
import "./why.css";

const width = (score: number): string => `${Math.round(100 * Math.min(Math.max(score, 0), 1))}%`;
const known = (scores: PartScores): string[] => PARTS.filter((part) => part in scores);

export function WhySmall({ scores }: { scores: PartScores }) {
  const told = known(scores)
    .map((part) => `${PART_NAMES[part]} ${scores[part].toFixed(2)}`)
    .join(", ");
  return (
    <span class="why-small" role="img" aria-label={`Similarity by part: ${told}`} title={told.replaceAll(", ", "\n")}>
      {known(scores).map((part) => (
        <i key={part} data-side={sideOf(part)} style={{ "--share": width(scores[part]) }} />
      ))}
    </span>
  );
}

export function Why({ scores }: { scores: PartScores }) {
  return (
    <dl class="why">
      {known(scores).map((part) => (
        <div key={part}>
          <dt>{PART_NAMES[part]}</dt>
          <dd>
            <i data-side={sideOf(part)} style={{ "--share": width(scores[part]) }} aria-hidden="true" />
            <span class="number">{scores[part].toFixed(2)}</span>
          </dd>
        </div>
      ))}
    </dl>
  );
}
