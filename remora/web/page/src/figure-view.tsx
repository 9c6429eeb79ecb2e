/** A figure on the page: loads when it comes near the window, moves while ``playing``, else shows its most telling pose. */
import { useEffect, useRef, useState } from "preact/hooks";
import { drawFigure, keyTime } from "./figure";
import { loadMotion, type Motion, PREVIEW_FPS, secondsOf } from "./frames";
import { inks } from "./theme";
import { everyFrame } from "./ticker";
import "./figure-view.css";

const EARLY = "400px"; // below the window's edge

export function FigureView({ clip, playing }: { clip: string; playing: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [seen, setSeen] = useState(false);
  const [motion, setMotion] = useState<Motion | null>(null);
  const [lost, setLost] = useState(false);
  const [size, setSize] = useState<[number, number]>([0, 0]);

  useEffect(() => {
    const watcher = new IntersectionObserver((entries) => setSeen(entries.some((entry) => entry.isIntersecting)), {
      rootMargin: EARLY,
    });
    const sizer = new ResizeObserver(([entry]) => setSize([entry.contentRect.width, entry.contentRect.height]));
    watcher.observe(canvas.current!);
    sizer.observe(canvas.current!);
    return () => (watcher.disconnect(), sizer.disconnect());
  }, []);

  useEffect(() => {
    setMotion(null);
    setLost(false);
    if (!seen) return;
    let wanted = true;
    loadMotion(clip, PREVIEW_FPS).then(
      (found) => wanted && setMotion(found),
      () => wanted && setLost(true),
    );
    return () => void (wanted = false);
  }, [clip, seen]);

  const colours = inks.value;
  useEffect(() => {
    // Kept in ordinary memory: fifty small canvases on a drawing process cost many times what the strokes do.
    const context = canvas.current!.getContext("2d", { willReadFrequently: true })!;
    const [width, height] = size;
    if (!motion || !width) return;
    const ratio = Math.min(devicePixelRatio, 2);
    canvas.current!.width = Math.round(width * ratio);
    canvas.current!.height = Math.round(height * ratio);
    context.scale(ratio, ratio);
    const draw = (seconds: number) => drawFigure(context, motion, seconds, width, height, colours);
    if (!playing) return draw(keyTime(motion));
    let start: number | null = null;
    return everyFrame((now) => {
      start ??= now;
      draw((now - start) % (secondsOf(motion) + 0.4));
    });
  }, [motion, playing, size, colours]);

  return (
    <div class="figure" data-state={lost ? "lost" : motion ? "ready" : "loading"}>
      <canvas ref={canvas} aria-hidden="true" />
      {lost && <span class="figure-lost">frames cannot be read</span>}
    </div>
  );
}
