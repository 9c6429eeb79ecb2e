/** Frames of clips: fetched once, decoded from the server's quantised form, kept for the last few hundred clips. */
import { ask, path } from "./api";

export interface Motion {
  frames: number;
  fps: number;
  names: string[];
  parents: number[];
  joints: Float32Array; // [T, J, 3] metres, y up, right-handed
  contacts: Uint8Array; // [T] bits: 0 left ankle, 1 left toe, 2 right ankle, 3 right toe
}

interface Head {
  frames: number;
  fps: number;
  names: string[];
  parents: number[];
  root_step_m: number;
  low: number[];
  step: number[];
  bits: number;
}

export const PREVIEW_FPS = 30;
const KEPT = 400;
const AT_ONCE = 6;

const kept = new Map<string, Promise<Motion>>();
const waiting: (() => void)[] = [];
let running = 0;

export const secondsOf = (motion: Motion): number => Math.max(motion.frames - 1, 1) / motion.fps;

/** The frames of a clip; at its own rate, or thinned to ``fps`` where that is lower. */
export function loadMotion(clip: string, fps?: number): Promise<Motion> {
  const url = `/api/frames/${path(clip)}${fps ? `?fps=${fps}` : ""}`;
  const known = kept.get(url);
  if (known) {
    kept.delete(url);
    kept.set(url, known);
    return known;
  }
  const loading = turn(async () => decodeFrames(await (await ask(url)).arrayBuffer()));
  loading.catch(() => kept.delete(url));
  kept.set(url, loading);
  for (const oldest of kept.keys()) {
    if (kept.size <= KEPT) break;
    kept.delete(oldest);
  }
  return loading;
}

async function turn<T>(work: () => Promise<T>): Promise<T> {
  if (running >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  running++;
  try {
    return await work();
  } finally {
    running--;
    waiting.shift()?.();
  }
}

/** Layout: "RMF1", u32 length of the header, header, i32 roots, u8 contacts, u12 or u16 joints relative to the root. */
export function decodeFrames(buffer: ArrayBuffer): Motion {
  const length = new DataView(buffer).getUint32(4, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length))) as Head;
  const T = head.frames;
  const J = head.names.length;
  let at = 8 + length;
  const root = new Int32Array(buffer, at, T * 3);
  at += T * 12;
  const contacts = new Uint8Array(buffer, at, T);
  at += Math.ceil(T / 4) * 4;
  const values =
    head.bits === 16
      ? new Uint16Array(buffer, at, T * (J - 1) * 3)
      : unpack12(new Uint8Array(buffer, at), T * (J - 1) * 3);
  const joints = new Float32Array(T * J * 3);
  for (let t = 0, i = 0; t < T; t++) {
    const o = t * J * 3;
    for (let a = 0; a < 3; a++) joints[o + a] = root[t * 3 + a] * head.root_step_m;
    for (let j = 1; j < J; j++) {
      for (let a = 0; a < 3; a++) joints[o + j * 3 + a] = joints[o + a] + head.low[a] + values[i++] * head.step[a];
    }
  }
  return { frames: T, fps: head.fps, names: head.names, parents: head.parents, joints, contacts };
}

/** Two values in three bytes. */
function unpack12(bytes: Uint8Array, count: number): Uint16Array {
  const values = new Uint16Array(count);
  for (let i = 0, p = 0; i < count; i += 2, p += 3) {
    values[i] = bytes[p] | ((bytes[p + 1] & 15) << 8);
    if (i + 1 < count) values[i + 1] = (bytes[p + 1] >> 4) | (bytes[p + 2] << 4);
  }
  return values;
}

/** Joint positions [J, 3] at a time, between frames too, written into ``pose``. */
export function poseAt(motion: Motion, seconds: number, pose: Float32Array): void {
  const width = motion.names.length * 3;
  const at = Math.min(Math.max(seconds * motion.fps, 0), motion.frames - 1);
  const first = Math.floor(at);
  const next = Math.min(first + 1, motion.frames - 1);
  const mix = at - first;
  for (let i = 0; i < width; i++) {
    const a = motion.joints[first * width + i];
    pose[i] = a + (motion.joints[next * width + i] - a) * mix;
  }
}
