/** The plane of the map: what the pointer, the wheel and the keys do on it. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { MapPoints } from "./api";
import { FigureView } from "./figure-view";
import { type Box, boxOf, drawPoints, neighbour, passes, type Ranked, valueOf } from "./map-dots";
import { go, place, whereOf } from "./place";
import { results } from "./results";
import { inks } from "./theme";
import { shortName } from "./uploads";

const REACH_PX = 14;

interface Sight {
  x: number; // world coordinates of the middle
  y: number;
  scale: number; // pixels a unit
}

export function Plane({
  points,
  by,
  ranked,
  moving,
}: {
  points: MapPoints;
  by: string | null;
  ranked: Ranked[];
  moving: boolean;
}) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [size, setSize] = useState<[number, number]>([0, 0]);
  const [sight, setSight] = useState<Sight | null>(null);
  const [over, setOver] = useState<number | null>(null);
  const [brush, setBrush] = useState<Box | null>(null);
  const [width, height] = size;
  const whole: Sight = { x: 0, y: 0, scale: Math.min(width, height) * 0.47 };
  const at = sight ?? whole;
  const toScreen = (x: number, y: number): [number, number] => [
    width / 2 + (x - at.x) * at.scale,
    height / 2 - (y - at.y) * at.scale,
  ];
  const toWorld = (px: number, py: number): [number, number] => [
    at.x + (px - width / 2) / at.scale,
    at.y - (py - height / 2) / at.scale,
  ];

  useEffect(() => {
    const sizer = new ResizeObserver(([entry]) => setSize([entry.contentRect.width, entry.contentRect.height]));
    sizer.observe(canvas.current!);
    return () => sizer.disconnect();
  }, []);

  const { filters, area, open } = place.value;
  const passing = useMemo(() => passes(points, filters), [points, whereOf(filters)]);
  const hits = results.value.items.filter((item) => item.score !== null).map((item) => item.id);
  const where = useMemo(() => new Map(points.clip_ids.map((id, i) => [id, i])), [points]);
  const box = brush ?? area;
  const colours = inks.value;
  useEffect(() => {
    if (!width) return;
    const marked = hits.flatMap((id) => where.get(id) ?? []);
    const opened = open ? where.get(open) : undefined;
    drawPoints(canvas.current!, size, {
      points,
      by,
      ranked,
      passing,
      marked,
      opened,
      over,
      box,
      toScreen,
      inks: colours,
    });
  });

  const nearest = (px: number, py: number): number | null => {
    let found: number | null = null;
    let best = REACH_PX ** 2;
    points.x.forEach((x, i) => {
      const [sx, sy] = toScreen(x, points.y[i]);
      const distance = (sx - px) ** 2 + (sy - py) ** 2;
      if (passing[i] && distance < best) [best, found] = [distance, i];
    });
    return found;
  };
  const zoom = (factor: number, px = width / 2, py = height / 2) => {
    const scale = Math.min(Math.max(at.scale * factor, whole.scale * 0.8), whole.scale * 60);
    const [x, y] = toWorld(px, py);
    setSight({ x: x - (px - width / 2) / scale, y: y + (py - height / 2) / scale, scale });
  };
  const onPointerDown = (event: PointerEvent) => {
    const from: [number, number] = [event.offsetX, event.offsetY];
    const start = at;
    let dragged = false;
    canvas.current!.setPointerCapture(event.pointerId);
    const drag = (move: PointerEvent) => {
      const [dx, dy] = [move.offsetX - from[0], move.offsetY - from[1]];
      dragged ||= Math.hypot(dx, dy) > 4;
      if (!dragged) return;
      setOver(null);
      if (moving || event.button === 1)
        setSight({ ...start, x: start.x - dx / start.scale, y: start.y + dy / start.scale });
      else setBrush(boxOf(toWorld(...from), toWorld(move.offsetX, move.offsetY)));
    };
    const drop = (end: PointerEvent) => {
      canvas.current!.removeEventListener("pointermove", drag);
      setBrush(null);
      const hit = nearest(end.offsetX, end.offsetY);
      if (dragged && !moving && event.button !== 1)
        go({ area: boxOf(toWorld(...from), toWorld(end.offsetX, end.offsetY)) });
      else if (!dragged) go(hit === null ? { area: null } : { open: points.clip_ids[hit], ghost: null });
    };
    canvas.current!.addEventListener("pointermove", drag);
    canvas.current!.addEventListener("pointerup", drop, { once: true });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const directions: Record<string, [number, number]> = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, 1],
      ArrowDown: [0, -1],
    };
    if (directions[event.key]) setOver(neighbour(points, passing, over, directions[event.key]));
    else if (event.key === "Enter" && over !== null) go({ open: points.clip_ids[over], ghost: null });
    else if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? 1.4 : 1 / 1.4);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const [tipX, tipY] = over === null ? [0, 0] : toScreen(points.x[over], points.y[over]);
  return (
    <div class="map-plane">
      <canvas
        ref={canvas}
        tabIndex={0}
        data-moving={moving || undefined}
        role="application"
        aria-label={`Map of ${points.clip_ids.length} clips. Arrow keys go from clip to clip, Enter opens, plus and minus zoom.`}
        onPointerDown={onPointerDown}
        onPointerMove={(event) => event.buttons === 0 && setOver(nearest(event.offsetX, event.offsetY))}
        onPointerLeave={() => setOver(null)}
        onKeyDown={onKeyDown}
        onDblClick={() => setSight(null)}
        onWheel={(event) => (
          event.preventDefault(),
          zoom(Math.exp(-event.deltaY * 0.0016), event.offsetX, event.offsetY)
        )}
      />
      <div class="map-zoom">
        <button class="icon-button" aria-label="Zoom in" onClick={() => zoom(1.5)}>
          +
        </button>
        <button class="icon-button" aria-label="Zoom out" onClick={() => zoom(1 / 1.5)}>
          −
        </button>
        <button class="text-button" onClick={() => setSight(null)}>
          all
        </button>
      </div>
      {over !== null && (
        <div
          class="map-tip"
          style={{ left: `${Math.min(Math.max(tipX, 92), width - 92)}px`, top: `${tipY}px` }}
          data-below={tipY < 230 || undefined}
          role="status"
        >
          <div class="map-figure">
            <FigureView clip={points.clip_ids[over]} playing />
          </div>
          <b>{(by && valueOf(points, by, over)) || shortName(points.clip_ids[over])}</b>
          <span>{valueOf(points, "source", over) || shortName(points.clip_ids[over])}</span>
        </div>
      )}
    </div>
  );
}
