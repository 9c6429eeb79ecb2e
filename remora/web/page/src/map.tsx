/** The library as a plane where like lies beside like: hover to see a clip move, drag to choose an area, click to open. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { MapPoints } from "./api";
import { FigureView } from "./figure-view";
import { Icon } from "./icons";
import { mapPoints } from "./map-points";
import { go, place, whereOf } from "./place";
import { results } from "./results";
import { type Inks, inks } from "./theme";
import { shortName } from "./uploads";
import "./map.css";

const COLOURS = ["#4a97e6", "#ee8a3c", "#35ab78", "#d25aae", "#b39a25", "#8a76e0", "#dd5b5b", "#24aab0", "#a07f5e", "#7b9b35"];
const REST = "#8b949c";
const REACH_PX = 14;
const TITLES: Record<string, string> = { class_id: "action", source: "source", style: "style", split: "split", subject: "person", licence: "licence" };

interface Sight {
  x: number; // world coordinates of the middle
  y: number;
  scale: number; // pixels a unit
}
type Box = [number, number, number, number];

export function LibraryMap() {
  const [points, setPoints] = useState<MapPoints | null>(null);
  const [fault, setFault] = useState<string | null>(null);
  const [by, setBy] = useState<string | null>(null);
  const [moving, setMoving] = useState(false);
  const load = () => {
    setFault(null);
    mapPoints().then(
      (found) => (setPoints(found), setBy((known) => known ?? Object.keys(found.columns).find((name) => name === "class_id") ?? Object.keys(found.columns)[0] ?? null)),
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
  if (fault) return <div class="nothing" role="alert"><h2>There is no map</h2><p>{fault}</p><button class="primary" onClick={load}>Try again</button></div>;
  return (
    <section class="map" aria-label="Map of the library">
      <div class="map-bar">
        {points && by && (
          <label>colour by{" "}
            <select value={by} onChange={(event) => setBy(event.currentTarget.value)}>
              {Object.keys(points.columns).map((name) => <option key={name} value={name}>{TITLES[name] ?? name}</option>)}
            </select>
          </label>
        )}
        <div class="switch" role="group" aria-label="What dragging does">
          <button aria-pressed={!moving} onClick={() => setMoving(false)}>Select</button>
          <button aria-pressed={moving} onClick={() => setMoving(true)}>Move</button>
        </div>
        {area && (
          <>
            <button class="primary" onClick={() => go({ view: "grid" })}><Icon name="grid" /> Show {results.value.total.toLocaleString("en")} in the grid</button>
            <button class="text-button" onClick={() => go({ area: null })}>clear area</button>
          </>
        )}
      </div>
      {points ? <Plane points={points} by={by} ranked={ranked} moving={moving} /> : <div class="map-plane map-waiting" role="status">The map of this version is being drawn…</div>}
      <ul class="legend">
        {ranked.slice(0, COLOURS.length).map(({ value, count }, i) => (
          <li key={value}>
            <button aria-pressed={chosen.includes(value)} onClick={() => toggle(value)}>
              <i style={{ background: COLOURS[i] }} />{value.replaceAll("_", " ")} <span class="number">{count.toLocaleString("en")}</span>
            </button>
          </li>
        ))}
        {ranked.length > COLOURS.length && <li class="legend-rest"><i style={{ background: REST }} />{ranked.length - COLOURS.length} others</li>}
      </ul>
    </section>
  );
}

interface Ranked {
  value: string;
  code: number;
  count: number;
}

function rankedValues(column: MapPoints["columns"][string] | undefined): Ranked[] {
  if (!column) return [];
  const counts = column.values.map((value, code) => ({ value, code, count: 0 }));
  for (const code of column.codes) if (code >= 0) counts[code].count++;
  return counts.sort((a, b) => b.count - a.count);
}

function Plane({ points, by, ranked, moving }: { points: MapPoints; by: string | null; ranked: Ranked[]; moving: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [size, setSize] = useState<[number, number]>([0, 0]);
  const [sight, setSight] = useState<Sight | null>(null);
  const [over, setOver] = useState<number | null>(null);
  const [brush, setBrush] = useState<Box | null>(null);
  const [width, height] = size;
  const whole: Sight = { x: 0, y: 0, scale: Math.min(width, height) * 0.47 };
  const at = sight ?? whole;
  const toScreen = (x: number, y: number): [number, number] => [width / 2 + (x - at.x) * at.scale, height / 2 - (y - at.y) * at.scale];
  const toWorld = (px: number, py: number): [number, number] => [at.x + (px - width / 2) / at.scale, at.y - (py - height / 2) / at.scale];

  useEffect(() => {
    const sizer = new ResizeObserver(([entry]) => setSize([entry.contentRect.width, entry.contentRect.height]));
    sizer.observe(canvas.current!);
    return () => sizer.disconnect();
  }, []);

  const { filters, area, open } = place.value;
  const passing = useMemo(() => passes(points, filters), [points, whereOf(filters)]);
  const hits = results.value.items.filter((item) => item.score !== null).map((item) => item.id);
  const where = useMemo(() => new Map(points.clip_ids.map((id, i) => [id, i])), [points]);
  const box = brush ?? area;
  const colours = inks.value;
  useEffect(() => {
    if (!width) return;
    const marked = hits.flatMap((id) => where.get(id) ?? []);
    const opened = open ? where.get(open) : undefined;
    draw(canvas.current!, size, { points, by, ranked, passing, marked, opened, over, box, toScreen, inks: colours });
  });

  const nearest = (px: number, py: number): number | null => {
    let found: number | null = null;
    let best = REACH_PX ** 2;
    points.x.forEach((x, i) => {
      const [sx, sy] = toScreen(x, points.y[i]);
      const distance = (sx - px) ** 2 + (sy - py) ** 2;
      if (passing[i] && distance < best) [best, found] = [distance, i];
    });
    return found;
  };
  const zoom = (factor: number, px = width / 2, py = height / 2) => {
    const scale = Math.min(Math.max(at.scale * factor, whole.scale * 0.8), whole.scale * 60);
    const [x, y] = toWorld(px, py);
    setSight({ x: x - (px - width / 2) / scale, y: y + (py - height / 2) / scale, scale });
  };
  const onPointerDown = (event: PointerEvent) => {
    const from: [number, number] = [event.offsetX, event.offsetY];
    const start = at;
    let dragged = false;
    canvas.current!.setPointerCapture(event.pointerId);
    const drag = (move: PointerEvent) => {
      const [dx, dy] = [move.offsetX - from[0], move.offsetY - from[1]];
      dragged ||= Math.hypot(dx, dy) > 4;
      if (!dragged) return;
      setOver(null);
      if (moving || event.button === 1) setSight({ ...start, x: start.x - dx / start.scale, y: start.y + dy / start.scale });
      else setBrush(boxOf(toWorld(...from), toWorld(move.offsetX, move.offsetY)));
    };
    const drop = (end: PointerEvent) => {
      canvas.current!.removeEventListener("pointermove", drag);
      setBrush(null);
      const hit = nearest(end.offsetX, end.offsetY);
      if (dragged && !moving && event.button !== 1) go({ area: boxOf(toWorld(...from), toWorld(end.offsetX, end.offsetY)) });
      else if (!dragged) go(hit === null ? { area: null } : { open: points.clip_ids[hit], ghost: null });
    };
    canvas.current!.addEventListener("pointermove", drag);
    canvas.current!.addEventListener("pointerup", drop, { once: true });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const directions: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (directions[event.key]) setOver(neighbour(points, passing, over, directions[event.key]));
    else if (event.key === "Enter" && over !== null) go({ open: points.clip_ids[over], ghost: null });
    else if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? 1.4 : 1 / 1.4);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const [tipX, tipY] = over === null ? [0, 0] : toScreen(points.x[over], points.y[over]);
  return (
    <div class="map-plane">
      <canvas
        ref={canvas} tabIndex={0} data-moving={moving || undefined} role="application"
        aria-label={`Map of ${points.clip_ids.length} clips. Arrow keys go from clip to clip, Enter opens, plus and minus zoom.`}
        onPointerDown={onPointerDown} onPointerMove={(event) => event.buttons === 0 && setOver(nearest(event.offsetX, event.offsetY))}
        onPointerLeave={() => setOver(null)} onKeyDown={onKeyDown} onDblClick={() => setSight(null)}
        onWheel={(event) => (event.preventDefault(), zoom(Math.exp(-event.deltaY * 0.0016), event.offsetX, event.offsetY))}
      />
      <div class="map-zoom">
        <button class="icon-button" aria-label="Zoom in" onClick={() => zoom(1.5)}>+</button>
        <button class="icon-button" aria-label="Zoom out" onClick={() => zoom(1 / 1.5)}>−</button>
        <button class="text-button" onClick={() => setSight(null)}>all</button>
      </div>
      {over !== null && (
        <div class="map-tip" style={{ left: `${Math.min(Math.max(tipX, 92), width - 92)}px`, top: `${tipY}px` }} data-below={tipY < 230 || undefined} role="status">
          <div class="map-figure"><FigureView clip={points.clip_ids[over]} playing /></div>
          <b>{(by && valueOf(points, by, over)) || shortName(points.clip_ids[over])}</b>
          <span>{valueOf(points, "source", over) || shortName(points.clip_ids[over])}</span>
        </div>
      )}
    </div>
  );
}

interface Scene {
  points: MapPoints;
  by: string | null;
  ranked: Ranked[];
  passing: boolean[];
  marked: number[];
  opened: number | undefined;
  over: number | null;
  box: Box | null;
  toScreen: (x: number, y: number) => [number, number];
  inks: Inks;
}

function draw(canvas: HTMLCanvasElement, [width, height]: [number, number], scene: Scene): void {
  const { points, by, ranked, passing, marked, opened, over, box, toScreen, inks: colours } = scene;
  const ratio = Math.min(devicePixelRatio, 2);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d")!;
  context.scale(ratio, ratio);
  const colourOf = new Map(ranked.slice(0, COLOURS.length).map(({ code }, i) => [code, COLOURS[i]]));
  const codes = by ? points.columns[by].codes : [];
  const radius = points.x.length > 20_000 ? 1.4 : 2.4;
  const dot = (i: number, size: number) => {
    const [x, y] = toScreen(points.x[i], points.y[i]);
    context.beginPath();
    context.arc(x, y, size, 0, 7);
  };
  const dim = marked.length > 0;
  points.x.forEach((_, i) => {
    context.globalAlpha = passing[i] ? (dim ? 0.4 : 0.85) : 0.07;
    context.fillStyle = colourOf.get(codes[i]) ?? REST;
    dot(i, radius);
    context.fill();
  });
  context.globalAlpha = 1;
  context.lineWidth = 2;
  context.strokeStyle = colours.ink;
  for (const i of marked) {
    context.fillStyle = colourOf.get(codes[i]) ?? REST;
    dot(i, 4.5);
    context.fill();
    context.stroke();
  }
  context.strokeStyle = colours.accent;
  context.lineWidth = 3;
  for (const i of [opened, over]) if (i !== undefined && i !== null) (dot(i, 7), context.stroke());
  if (!box) return;
  const [left, bottom] = toScreen(box[0], box[1]);
  const [right, top] = toScreen(box[2], box[3]);
  context.globalAlpha = 0.1;
  context.fillStyle = colours.accent;
  context.fillRect(left, top, right - left, bottom - top);
  context.globalAlpha = 1;
  context.lineWidth = 1.5;
  context.strokeRect(left, top, right - left, bottom - top);
}

const boxOf = ([ax, ay]: [number, number], [bx, by]: [number, number]): Box => [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];

function valueOf(points: MapPoints, name: string, i: number): string {
  const column = points.columns[name];
  return column?.values[column.codes[i]]?.replaceAll("_", " ") ?? "";
}

/** Which points pass the filters on the columns that the map knows. */
function passes(points: MapPoints, filters: Record<string, unknown>): boolean[] {
  const tests = Object.entries(filters).flatMap(([name, wanted]) => {
    const column = points.columns[name];
    return column && Array.isArray(wanted) ? [{ column, wanted: new Set(wanted as string[]) }] : [];
  });
  return points.x.map((_, i) => tests.every(({ column, wanted }) => wanted.has(column.values[column.codes[i]] ?? "")));
}

/** The nearest point in a direction, within 45 degrees of it; from nowhere: the one nearest to the middle. */
function neighbour(points: MapPoints, passing: boolean[], from: number | null, [dx, dy]: [number, number]): number | null {
  let found = from;
  let best = Infinity;
  const [x, y] = from === null ? [0, 0] : [points.x[from], points.y[from]];
  points.x.forEach((px, i) => {
    const [ox, oy] = [px - x, points.y[i] - y];
    const distance = Math.hypot(ox, oy);
    const ahead = from === null || (ox * dx + oy * dy > distance * 0.7 && distance > 0);
    if (passing[i] && ahead && distance < best) [best, found] = [distance, i];
  });
  return found;
}
