/** The clock of the open clip: where it stands, whether it runs, how fast, and whether it starts again. */
import { signal } from "@preact/signals";
import { everyFrame } from "./ticker";

export const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4];

export const seconds = signal(0);
export const duration = signal(0);
export const frameRate = signal(20);
export const playing = signal(false);
export const looping = signal(true);
export const speed = signal(1);

let before = 0;
let stop: (() => void) | null = null;

export function play(on: boolean): void {
  playing.value = on;
  stop?.();
  stop = null;
  if (!on) return;
  if (seconds.value >= duration.value) seconds.value = 0;
  before = 0;
  stop = everyFrame((now) => {
    const step = before ? Math.min(now - before, 0.1) * speed.value : 0;
    before = now;
    const next = seconds.value + step;
    if (next < duration.value) seconds.value = next;
    else if (looping.value) seconds.value = next % Math.max(duration.value, 0.001);
    else {
      seconds.value = duration.value;
      play(false);
    }
  });
}

export function seek(to: number): void {
  seconds.value = Math.min(Math.max(to, 0), duration.value);
}

/** To the next or the previous frame, standing still. */
export function stepFrame(by: number): void {
  play(false);
  seek((Math.round(seconds.value * frameRate.value) + by) / frameRate.value);
}

export function changeSpeed(by: number): void {
  const at = SPEEDS.indexOf(speed.value) + by;
  speed.value = SPEEDS[Math.min(Math.max(at, 0), SPEEDS.length - 1)];
}
