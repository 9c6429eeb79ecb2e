/** What the grid shows: the answer to the question, or the library itself while nothing is asked. */
import { computed, effect, signal } from "@preact/signals";
import { type Clip, type ClipPage, get, type Hit, type Hits, type PartScores, post, type SearchRequest } from "./api";
import { library } from "./library";
import { idsWithin } from "./map-points";
import { isQuestion, place, whereOf } from "./place";

export interface Item {
  id: string;
  title: string;
  source: string;
  seconds: number;
  score: number | null;
  parts: PartScores | null;
}
export interface Results {
  state: "loading" | "more" | "ready" | "failed"; // more: the next page is on its way
  items: Item[];
  total: number;
  next: number | null;
  took_ms: number;
  notes: string[];
  fault: string;
}

const PAGE = 50;
const TYPING_MS = 220;
const LESS_ALONE = "“Less like” counts beside a question: say in words, or by another clip, what to look for.";
const EMPTY: Results = { state: "loading", items: [], total: 0, next: null, took_ms: 0, notes: [], fault: "" };

export const results = signal<Results>(EMPTY);

const asked = computed(() => {
  const { text, motion, parts, weights, more, less, filters, area } = place.value;
  return JSON.stringify({
    text: text.trim(),
    motion,
    parts,
    weights,
    more,
    less,
    filters,
    area,
    version: library.value?.version,
  });
});
let current = new AbortController();
let lastText = place.value.text;

effect(() => {
  void asked.value; // all that the answer depends on: whether a clip is open is none of it
  if (!library.peek()) return;
  current.abort();
  current = new AbortController();
  const { text } = place.peek();
  const typing = text !== lastText;
  lastText = text;
  const { signal: stopped } = current;
  results.value = { ...results.peek(), state: "loading", fault: "" };
  setTimeout(() => !stopped.aborted && void load(0, stopped), typing ? TYPING_MS : 0);
});

/** The next page, below what is there. */
export function loadMore(): void {
  const { state, next } = results.value;
  if (state === "ready" && next !== null) void load(next, current.signal);
}

export function retry(): void {
  void load(0, current.signal);
}

async function load(offset: number, stopped: AbortSignal): Promise<void> {
  const start = performance.now();
  results.value = { ...results.value, state: offset ? "more" : "loading" };
  try {
    const page = isQuestion.value ? await search(offset, stopped) : await browse(offset, stopped);
    if (stopped.aborted) return;
    const before = offset ? results.value.items : [];
    results.value = {
      ...page,
      items: [...before, ...page.items],
      state: "ready",
      fault: "",
      took_ms: performance.now() - start,
    };
  } catch (fault) {
    if (!stopped.aborted) results.value = { ...EMPTY, state: "failed", fault: (fault as Error).message };
  }
}

type Page = Pick<Results, "items" | "total" | "next" | "notes">;

async function search(offset: number, stopped: AbortSignal): Promise<Page> {
  const { text, motion, parts, weights, more, less, area } = place.value;
  const asked = { text: text.trim() || null, clip: motion, parts, weights, more_like: more, less_like: less };
  const answer = await hitsOf(asked, area && (await idsWithin(area)), offset, stopped);
  return { items: answer.hits.map(itemOfHit), total: answer.matching, next: answer.next, notes: answer.notes };
}

/** Nothing is asked: the library in its own order, or an area of the map from its middle outwards. */
async function browse(offset: number, stopped: AbortSignal): Promise<Page> {
  const { filters, area, less } = place.value;
  if (!area) {
    const answer = await get<ClipPage>(`/api/clips?${clipQuery(whereOf(filters), offset)}`, stopped);
    return {
      items: answer.items.map(itemOfClip),
      total: answer.total,
      next: answer.next,
      notes: less.length ? [LESS_ALONE] : [],
    };
  }
  const within = await idsWithin(area);
  if (within.length === 0) return { items: [], total: 0, next: null, notes: [] };
  const answer = await hitsOf({ clip: within[0] }, within, offset, stopped);
  const items = answer.hits.map((hit) => ({ ...itemOfHit(hit), score: null, parts: null }));
  return { items, total: answer.matching, next: answer.next, notes: [] };
}

function hitsOf(
  asked: Partial<SearchRequest>,
  within: string[] | null,
  offset: number,
  stopped: AbortSignal,
): Promise<Hits> {
  return post<Hits>("/api/search", { ...asked, where: whereOf(place.value.filters), within, k: PAGE, offset }, stopped);
}

function clipQuery(where: string | null, offset: number): string {
  return new URLSearchParams({ ...(where && { where }), offset: String(offset), limit: String(PAGE) }).toString();
}

function itemOfHit(hit: Hit): Item {
  return {
    id: hit.clip_id,
    title: hit.captions[0] ?? titleOf(hit),
    source: hit.source,
    seconds: hit.end_s - hit.start_s,
    score: hit.score,
    parts: hit.parts,
  };
}

export function itemOfClip(clip: Clip): Item {
  return {
    id: clip.clip_id,
    title: clip.captions[0]?.text ?? titleOf(clip),
    source: clip.source,
    seconds: clip.duration_s,
    score: null,
    parts: null,
  };
}

/** Of a clip that nobody has described: its class, or the name of its take. */
function titleOf({ labels, take }: { labels: Record<string, string>; take: string }): string {
  return labels.class_text || labels.class_id?.replaceAll("_", " ") || take.split("/").pop() || take;
}
