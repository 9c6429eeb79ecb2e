/** The server's answers, typed, and the one place that asks for them. */

export interface Library {
  name: string;
  uuid: string;
  version: number;
  clips: number;
  captions: number;
  hours: number;
  parts: string[];
  examples: string[];
  models: Models;
  generator_note: string;
  watching: string | null;
  export_formats: string[];
  upload_formats: string[];
  limits: { k: number; upload_bytes: number; export_clips: number; text: number };
  features: { feedback?: boolean; moments?: boolean; generate: boolean; save: boolean };
  remora: string;
}
export interface Models {
  encoder: ModelState;
  generator: ModelState;
}
export type ModelState = "loading" | "ready" | "failed" | "absent" | "idle";

export interface Column {
  name: string;
  kind: "text" | "number" | "truth";
  distinct: number;
  values?: { value: string | boolean; count: number }[];
  low?: number;
  high?: number;
  bins?: { low: number; high: number; count: number }[];
}
export interface Facets {
  clips: number;
  columns: Column[];
}

export interface Caption {
  text: string;
  start_s: number;
  end_s: number;
  kind: string;
}
export interface Clip {
  clip_id: string;
  source: string;
  take: string;
  start_s: number;
  end_s: number;
  duration_s: number;
  fps: number;
  n_frames: number;
  subject: string;
  split: string;
  licence: string;
  origin: string;
  mirrored: boolean;
  labels: Record<string, string>;
  captions: Caption[];
}
export interface ClipPage {
  total: number;
  items: Clip[];
  next: number | null;
}

export type PartScores = Record<string, number>;
export interface Hit {
  clip_id: string;
  start_s: number;
  end_s: number;
  score: number;
  captions: string[];
  source: string;
  take: string;
  labels: Record<string, string>;
  parts: PartScores;
}
export interface SearchRequest {
  text: string | null;
  clip: string | null;
  parts: string[];
  weights: Record<string, number>;
  more_like: string[];
  less_like: string[];
  where: string | null;
  within: string[] | null;
  k: number;
  offset: number;
}
export interface Hits {
  hits: Hit[];
  next: number | null;
  matching: number;
  notes: string[];
}
export interface Comparison {
  whole: number;
  parts: PartScores;
}
/** Seconds of the take, the curve's ``times``, too. */
export interface ClipMoments {
  clip: string;
  text: string;
  moments: { rank: number; start_s: number; end_s: number; score: number }[];
  times: number[];
  scores: number[];
}

export interface MapPoints {
  version: number;
  method: string;
  clip_ids: string[];
  x: number[];
  y: number[];
  columns: Record<string, { values: string[]; codes: number[] }>;
}

export interface Upload {
  clip: string;
  name: string;
  duration_s: number;
  notes: Record<string, string>;
}

export interface Exemplar {
  clip_id: string;
  score: number;
  caption: string;
}
export interface Job {
  job_id: string;
  kind: "generate" | "edit";
  state: "waiting" | "running" | "done" | "failed" | "cancelled";
  stage: string;
  done: number;
  total: number;
  position: number;
  error: string;
  request: { text: string; clip?: string; text_scale?: number | null; retrieval_scale?: number | null };
  result: { clip: string; duration_s: number; seed: number; exemplars: Exemplar[] } | null;
}
export interface GenerateRequest {
  text: string;
  seconds: number | null;
  seed: number | null;
  neighbours: number;
  text_scale: number;
  retrieval_scale: number;
  candidates: number;
}

/** A span of a clip, or some parts of it, made anew. */
export interface EditRequest {
  clip: string;
  text: string;
  start_s: number | null;
  end_s: number | null;
  parts: string[];
}

export interface Version {
  version: number;
  time: string;
  added: number;
  deleted: number;
  rows: number;
  note: string;
}

/** What went wrong, in the server's own sentence. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly code: string,
  ) {
    super(message);
  }
}

export const path = (clip: string): string => encodeURIComponent(clip);

/**
 * Models load in the background, maps are computed once: such answers come when they are there. What is only looked at waits
 * for its turn too where an address asks too much at once, as all who come through one proxy do.
 */
const PATIENCE = 120;

export async function ask(url: string, init: RequestInit = {}): Promise<Response> {
  for (let attempt = 0; ; attempt++) {
    const answer = await fetch(url, init).catch((fault: unknown) => {
      if (init.signal?.aborted) throw fault;
      throw new ApiError("The studio does not answer. Is `remora studio` still running?", "gone");
    });
    if (answer.ok && answer.status !== 202) return answer;
    const wait = Number(answer.headers.get("Retry-After") ?? 0);
    if (answer.status === 202 && !wait) return answer;
    const fault = answer.ok ? null : await faultOf(answer);
    const patient = fault?.code === "loading" || (fault?.code === "busy" && !init.method);
    if (fault && !patient) throw fault;
    if (attempt >= PATIENCE)
      throw fault ?? new ApiError("The studio is still computing; try again in a minute.", "loading");
    await pause(1000 * Math.max(wait, 0.5) * (1 + Math.random() / 2), init.signal); // not all at the same moment
  }
}

export async function get<T>(url: string, signal?: AbortSignal): Promise<T> {
  return (await ask(url, { signal })).json() as Promise<T>;
}

export async function post<T>(url: string, body: unknown, signal?: AbortSignal): Promise<T> {
  return (await send(url, body, signal)).json() as Promise<T>;
}

export function send(url: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  return ask(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
}

export async function upload(file: File): Promise<Upload> {
  const init = { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file };
  return (await ask(`/api/uploads?name=${encodeURIComponent(file.name)}`, init)).json() as Promise<Upload>;
}

export function exportUrl(clip: string, format: string): string {
  return `/api/export/${path(clip)}?format=${format}`;
}

/** Hands the browser a file that the server made for a POST. */
export async function download(answer: Response, name: string): Promise<void> {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function faultOf(answer: Response): Promise<ApiError> {
  if (answer.status === 401)
    return new ApiError("This studio wants its token: open the address that the terminal printed.", "token");
  const body = (await answer.json().catch(() => null)) as { error?: string; code?: string } | null;
  return new ApiError(body?.error ?? `The studio answered ${answer.status} without a reason.`, body?.code ?? "fault");
}

function pause(milliseconds: number, signal?: AbortSignal | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
