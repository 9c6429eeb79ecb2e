/**
 * Columns of the library with counts. The counts of a column are of the clips that pass all *other* filters: choosing one
 * value leaves the counts of its neighbours standing.
 */
import { effect, signal } from "@preact/signals";
import { type Column, type Facets, get } from "./api";
import { library } from "./library";
import { place, whereOf } from "./place";

const HIDDEN = new Set(["class_text", "origin", "n_frames"]); // told by class_id, of no use to choose by, told by duration_s

export const columns = signal<Column[]>([]);
export const facetsFault = signal<string | null>(null);

let current = new AbortController();
let last = "";

effect(() => {
  const { filters } = place.value;
  const version = library.value?.version;
  const key = JSON.stringify({ filters, version });
  if (version === undefined || key === last) return;
  last = key;
  current.abort();
  current = new AbortController();
  void load(current.signal);
});

async function load(stopped: AbortSignal): Promise<void> {
  const { filters } = place.value;
  try {
    const [all, ...own] = await Promise.all([
      facetsOf(whereOf(filters), stopped),
      ...Object.keys(filters).map((column) => facetsOf(whereOf(filters, column), stopped)),
    ]);
    const filtered = Object.keys(filters);
    columns.value = all.columns
      .map((column) => own[filtered.indexOf(column.name)]?.columns.find(({ name }) => name === column.name) ?? column)
      .filter(({ name, distinct }) => !HIDDEN.has(name) && (distinct > 1 || name in filters));
    facetsFault.value = null;
  } catch (fault) {
    if (!stopped.aborted) facetsFault.value = (fault as Error).message;
  }
}

const facetsOf = (where: string | null, stopped: AbortSignal): Promise<Facets> =>
  get<Facets>(`/api/facets${where ? `?${new URLSearchParams({ where })}` : ""}`, stopped);
