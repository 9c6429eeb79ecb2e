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

export async function idsWithin([x0, y0, x1, y1]: [number, number, number, number]): Promise<string[]> {
  const { clip_ids, x, y } = await mapPoints();
  return clip_ids.filter((_, i) => x[i] >= x0 && x[i] <= x1 && y[i] >= y0 && y[i] <= y1);
}
