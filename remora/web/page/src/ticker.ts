/** One animation loop for everything that moves on the page. */
type Step = (now: number) => void;

const steps = new Set<Step>();

/** Calls ``step`` before every picture, with seconds; stops when the returned function is called. */
export function everyFrame(step: Step): () => void {
  steps.add(step);
  if (steps.size === 1) requestAnimationFrame(run);
  return () => void steps.delete(step);
}

function run(milliseconds: number): void {
  for (const step of steps) step(milliseconds / 1000);
  if (steps.size) requestAnimationFrame(run);
}
