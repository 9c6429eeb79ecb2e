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
  const filtered = Object.keys(filters);
  try {
    const [whole, passing, ...others] = await Promise.all([
      facetsOf(null, stopped),
      facetsOf(whereOf(filters), stopped),
      ...filtered.map((column) => facetsOf(whereOf(filters, column), stopped)),
    ]);
    columns.value = whole.columns
      .filter(({ name, distinct }) => !HIDDEN.has(name) && distinct > 1)
      .map((column) => {
        const counted = others[filtered.indexOf(column.name)] ?? passing;
        return counted.columns.find(({ name, distinct }) => name === column.name && distinct > 0) ?? emptied(column);
      });
    facetsFault.value = null;
  } catch (fault) {
    if (!stopped.aborted) facetsFault.value = (fault as Error).message;
  }
}

/** A column of which no clip is left. */
function emptied(column: Column): Column {
  const none = <T>(items?: T[]): T[] | undefined => items?.map((item) => ({ ...item, count: 0 }));
  return { ...column, values: none(column.values), bins: none(column.bins) };
}

const facetsOf = (where: string | null, stopped: AbortSignal): Promise<Facets> =>
  get<Facets>(`/api/facets${where ? `?${new URLSearchParams({ where })}` : ""}`, stopped);
