/** The library as a plane where like lies beside like: hover to see a clip move, drag to choose an area, click to open. */
import { useEffect, useMemo, useState } from "preact/hooks";
import type { MapPoints } from "./api";
import { Icon } from "./icons";
import { Plane } from "./map-plane";
import { mapPoints } from "./map-points";
import { COLOURS, rankedValues, REST } from "./map-dots";
import { go, place } from "./place";
import { results } from "./results";
import "./map.css";

const TITLES: Record<string, string> = {
  class_id: "action",
  source: "source",
  style: "style",
  split: "split",
  subject: "person",
  licence: "licence",
};

export function LibraryMap() {
  const [points, setPoints] = useState<MapPoints | null>(null);
  const [fault, setFault] = useState<string | null>(null);
  const [by, setBy] = useState<string | null>(null);
  const [moving, setMoving] = useState(false);
  const load = () => {
    setFault(null);
    mapPoints().then(
      (found) => (
        setPoints(found),
        setBy(
          (known) =>
            known ??
            Object.keys(found.columns).find((name) => name === "class_id") ??
            Object.keys(found.columns)[0] ??
            null,
        )
      ),
      (problem: Error) => setFault(problem.message),
    );
  };
  useEffect(load, []);
  const { filters, area } = place.value;
  const column = by ? points?.columns[by] : undefined;
  const ranked = useMemo(() => rankedValues(column), [column]);
  const chosen = by && Array.isArray(filters[by]) ? (filters[by] as string[]) : [];
  const toggle = (value: string) => {
    const { [by!]: _, ...others } = filters;
    const values = chosen.includes(value) ? chosen.filter((other) => other !== value) : [...chosen, value];
    go({ filters: values.length ? { ...others, [by!]: values } : others });
  };
  if (fault)
    return (
      <div class="nothing" role="alert">
        <h2>There is no map</h2>
        <p>{fault}</p>
        <button class="primary" onClick={load}>
          Try again
        </button>
      </div>
    );
  return (
    <section class="map" aria-label="Map of the library">
      <div class="map-bar">
        {points && by && (
          <label>
            colour by{" "}
            <select value={by} onChange={(event) => setBy(event.currentTarget.value)}>
              {Object.keys(points.columns).map((name) => (
                <option key={name} value={name}>
                  {TITLES[name] ?? name}
                </option>
              ))}
            </select>
          </label>
        )}
        <div class="switch" role="group" aria-label="What dragging does">
          <button aria-pressed={!moving} onClick={() => setMoving(false)}>
            Select
          </button>
          <button aria-pressed={moving} onClick={() => setMoving(true)}>
            Move
          </button>
        </div>
        {area && (
          <>
            <button class="primary" onClick={() => go({ view: "grid" })}>
              <Icon name="grid" /> Show {results.value.total.toLocaleString("en")} in the grid
            </button>
            <button class="text-button" onClick={() => go({ area: null })}>
              clear area
            </button>
          </>
        )}
      </div>
      {points ? (
        <Plane points={points} by={by} ranked={ranked} moving={moving} />
      ) : (
        <div class="map-plane map-waiting" role="status">
          The map of this version is being drawn…
        </div>
      )}
      <ul class="legend">
        {ranked.slice(0, COLOURS.length).map(({ value, count }, i) => (
          <li key={value}>
            <button aria-pressed={chosen.includes(value)} onClick={() => toggle(value)}>
              <i style={{ background: COLOURS[i] }} />
              {value.replaceAll("_", " ")} <span class="number">{count.toLocaleString("en")}</span>
            </button>
          </li>
        ))}
        {ranked.length > COLOURS.length && (
          <li class="legend-rest">
            <i style={{ background: REST }} />
            {ranked.length - COLOURS.length} others
          </li>
        )}
      </ul>
    </section>
  );
}
