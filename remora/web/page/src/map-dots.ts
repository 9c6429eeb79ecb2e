/** The points of the map on a canvas, and which of them lie where. */
import type { MapPoints } from "./api";
import type { Filter } from "./place";
import type { Inks } from "./theme";

export const COLOURS = [
  "#4a97e6",
  "#ee8a3c",
  "#35ab78",
  "#d25aae",
  "#b39a25",
  "#8a76e0",
  "#dd5b5b",
  "#24aab0",
  "#a07f5e",
  "#7b9b35",
];
export const REST = "#8b949c";
export type Box = [number, number, number, number]; // x0, y0, x1, y1

export interface Ranked {
  value: string;
  code: number;
  count: number;
}

/** Values of a column, most frequent first. */
export function rankedValues(column: MapPoints["columns"][string] | undefined): Ranked[] {
  if (!column) return [];
  const counts = column.values.map((value, code) => ({ value, code, count: 0 }));
  for (const code of column.codes) if (code >= 0) counts[code].count++;
  return counts.sort((a, b) => b.count - a.count);
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

export function drawPoints(canvas: HTMLCanvasElement, [width, height]: [number, number], scene: Scene): void {
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

export const boxOf = ([ax, ay]: [number, number], [bx, by]: [number, number]): Box => [
  Math.min(ax, bx),
  Math.min(ay, by),
  Math.max(ax, bx),
  Math.max(ay, by),
];

export function valueOf(points: MapPoints, name: string, i: number): string {
  const column = points.columns[name];
  return column?.values[column.codes[i]]?.replaceAll("_", " ") ?? "";
}

/** Which points pass the filters on the columns that the map knows. */
export function passes(points: MapPoints, filters: Record<string, Filter>): boolean[] {
  const tests = Object.entries(filters).flatMap(([name, wanted]) => {
    const column = points.columns[name];
    return column && Array.isArray(wanted) ? [{ column, wanted: new Set(wanted) }] : [];
  });
  return points.x.map((_, i) => tests.every(({ column, wanted }) => wanted.has(column.values[column.codes[i]] ?? "")));
}

/** The nearest point in a direction, within 45 degrees of it; from nowhere: the one nearest to the middle. */
export function neighbour(
  points: MapPoints,
  passing: boolean[],
  from: number | null,
  [dx, dy]: [number, number],
): number | null {
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
