/**
 * Where one is: the question, the filters, what is open. All of it is in the address, so that a link shows the same thing
 * and the browser's back button goes back.
 */
import { computed, signal } from "@preact/signals";

export type View = "grid" | "map" | "make";
export interface Range {
  low: number;
  high: number;
}
export type Filter = string[] | Range;
export interface Making {
  seconds: number | null; // null: estimated from the sentence
  seed: number | null; // null: drawn anew each time
  neighbours: number; // exemplars to learn from, 0 to 8
  text_scale: number;
  retrieval_scale: number;
  candidates: number; // made, of which the one that fits the words best is kept
}
export const MAKING: Making = {
  seconds: null,
  seed: null,
  neighbours: 2,
  text_scale: 2.5,
  retrieval_scale: 1,
  candidates: 4,
};

export interface Place {
  view: View;
  text: string;
  motion: string | null; // the clip or upload that is asked by
  parts: string[];
  weights: Record<string, number>;
  more: string[];
  less: string[];
  filters: Record<string, Filter>;
  area: [number, number, number, number] | null; // x0, y0, x1, y1 of the brush on the map
  open: string | null;
  ghost: string | null;
  making: Making;
}

export const place = signal<Place>(readPlace(location.search));
addEventListener("popstate", () => (place.value = readPlace(location.search)));

/** Goes elsewhere; ``replace`` while somebody is still typing or dragging, so that "back" takes whole steps. */
export function go(change: Partial<Place>, replace = false): void {
  place.value = { ...place.value, ...change };
  const query = writePlace(place.value);
  if (query === location.search.slice(1)) return;
  history[replace ? "replaceState" : "pushState"](null, "", query ? `?${query}` : location.pathname);
}

export const isQuestion = computed(() => {
  const { text, motion, more } = place.value;
  return text.trim() !== "" || motion !== null || more.length > 0;
});

export function readPlace(search: string): Place {
  const query = new URLSearchParams(search);
  const views: Record<string, View> = { map: "map", make: "make" };
  const filters: Record<string, Filter> = {};
  for (const [key, value] of query) {
    if (!key.startsWith("f.")) continue;
    const column = key.slice(2);
    const range = /^(-?[\d.]+)\.\.(-?[\d.]+)$/.exec(value);
    const old = filters[column];
    if (range) filters[column] = { low: Number(range[1]), high: Number(range[2]) };
    else filters[column] = [...(Array.isArray(old) ? old : []), value];
  }
  const weights: Record<string, number> = {};
  for (const pair of query.getAll("weight")) {
    const [part, value] = pair.split(":");
    if (part && Number(value) > 0 && Number.isFinite(Number(value))) weights[part] = Number(value);
  }
  const area = query.get("area")?.split(",").map(Number) ?? [];
  return {
    view: views[query.get("view") ?? ""] ?? "grid",
    text: query.get("q") ?? "",
    motion: query.get("motion"),
    parts: query.getAll("part"),
    weights,
    more: query.getAll("more"),
    less: query.getAll("less"),
    filters,
    area: area.length === 4 && area.every(Number.isFinite) ? (area as Place["area"]) : null,
    open: query.get("open"),
    ghost: query.get("ghost"),
    making: Object.fromEntries(
      Object.entries(MAKING).map(([key, usual]) => {
        const given = query.get(key);
        return [key, given && Number.isFinite(Number(given)) ? Number(given) : usual];
      }),
    ) as unknown as Making,
  };
}

export function writePlace(at: Place): string {
  const query = new URLSearchParams();
  const put = (key: string, values: (string | null)[]) => values.forEach((value) => value && query.append(key, value));
  put("view", [at.view === "grid" ? null : at.view]);
  put("q", [at.text]);
  put("motion", [at.motion]);
  put("part", at.parts);
  put(
    "weight",
    Object.entries(at.weights).map(([part, value]) => `${part}:${value}`),
  );
  put("more", at.more);
  put("less", at.less);
  for (const [column, filter] of Object.entries(at.filters)) {
    put(`f.${column}`, Array.isArray(filter) ? filter : [`${filter.low}..${filter.high}`]);
  }
  put("area", [at.area?.map((value) => value.toFixed(3)).join(",") ?? null]);
  put("open", [at.open]);
  put("ghost", [at.ghost]);
  for (const [key, usual] of Object.entries(MAKING)) {
    const value = at.making[key as keyof Making];
    if (value !== usual) put(key, [String(value)]);
  }
  return query.toString();
}

/** The filters as the library's own language; ``without`` leaves one column out. */
export function whereOf(filters: Record<string, Filter>, without?: string): string | null {
  const terms = Object.entries(filters)
    .filter(([column]) => column !== without)
    .map(([column, filter]) => {
      if (!Array.isArray(filter)) return `${column} between ${filter.low} and ${filter.high}`;
      if (filter.every((value) => value === "true" || value === "false")) return `${column} in (${filter.join(", ")})`;
      return `${column} in (${filter.map((value) => `'${value.replaceAll("'", "''")}'`).join(", ")})`;
    });
  return terms.length ? terms.join(" and ") : null;
}
