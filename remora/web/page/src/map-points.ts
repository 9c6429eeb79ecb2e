/** The library's points in the plane: computed by the server once a version, fetched when the map or a brush needs them. */
import { get, type MapPoints } from "./api";
import { library } from "./library";

let loading: { version: number; points: Promise<MapPoints> } | null = null;

export function mapPoints(): Promise<MapPoints> {
  const version = library.value?.version ?? 0;
  if (loading?.version !== version) {
    const points = get<MapPoints>("/api/map");
    points.catch(() => (loading = null));
    loading = { version, points };
  }
  return loading.points;
}

/** The clips in an area, those nearest to its middle first. */
export async function idsWithin([x0, y0, x1, y1]: [number, number, number, number]): Promise<string[]> {
  const { clip_ids, x, y } = await mapPoints();
  const fromMiddle = (i: number) => Math.hypot(x[i] - (x0 + x1) / 2, y[i] - (y0 + y1) / 2);
  const inside = [...clip_ids.keys()].filter((i) => x[i] >= x0 && x[i] <= x1 && y[i] >= y0 && y[i] <= y1);
  return inside.sort((a, b) => fromMiddle(a) - fromMiddle(b)).map((i) => clip_ids[i]);
}
