/** Files of the user's that are asked by: sent to the server, which keeps them for a while; their names stay here. */
import { signal } from "@preact/signals";
import { upload } from "./api";
import { library } from "./library";
import { notify } from "./notices";
import { go } from "./place";

export const uploading = signal<string | null>(null);
export const uploadNames = signal<Record<string, string>>({});

export async function askByFile(file: File): Promise<void> {
  const limit = library.value?.limits.upload_bytes ?? Infinity;
  if (file.size > limit) {
    notify(`${file.name} has ${megabytes(file.size)}; a motion to search by may have ${megabytes(limit)}.`, "error");
    return;
  }
  uploading.value = file.name;
  try {
    const { clip, name } = await upload(file);
    uploadNames.value = { ...uploadNames.value, [clip]: name };
    go({ motion: clip, text: "", view: "grid", open: null, ghost: null });
  } catch (fault) {
    notify((fault as Error).message, "error");
  } finally {
    uploading.value = null;
  }
}

/** How a clip, an upload or a result is called where space is short. */
export function shortName(clip: string): string {
  if (clip.startsWith("upload:")) return uploadNames.value[clip] ?? "your motion";
  if (clip.startsWith("result:")) return "a made motion";
  const [take, span] = clip.split("#");
  const name = take.split("/").pop() ?? take;
  return span && !span.startsWith("0.00-") ? `${name} ${span}s` : name;
}

const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MB`;
