/** The open library, its models, and what changes while the page is open. */
import { signal } from "@preact/signals";
import { ApiError, get, type Library, type Models } from "./api";
import { notify } from "./notices";

export const library = signal<Library | null>(null);
export const libraryFault = signal<string | null>(null);

const AGAIN_MS = 2000; // until a library that is not there is asked for again
let again: ReturnType<typeof setTimeout> | undefined;

/** Asks for the library; one that is not there yet, as when a watched folder is still empty, is asked for until it is. */
export async function openLibrary(): Promise<void> {
  clearTimeout(again);
  try {
    library.value = await get<Library>("/api/library");
    libraryFault.value = null;
    document.title = `${library.value.name} · Remora studio`;
  } catch (fault) {
    libraryFault.value = (fault as Error).message;
    if (fault instanceof ApiError && fault.code === "library") again = setTimeout(openLibrary, AGAIN_MS);
  }
}

/** Follows the library: new versions (a watched folder, another window) and the loading of models. */
export function followLibrary(): void {
  const events = new EventSource("/api/events");
  events.addEventListener("version", async (event) => {
    const { version, clips } = JSON.parse(event.data) as { version: number; clips: number };
    if (!library.value || version === library.value.version) return;
    await openLibrary();
    notify(`The library is at version ${version} now: ${clips.toLocaleString("en")} clips.`);
  });
  events.addEventListener("models", (event) => {
    if (!library.value) return;
    const models = JSON.parse(event.data) as Models;
    library.value = {
      ...library.value,
      models,
      features: { ...library.value.features, generate: models.generator !== "absent" },
    };
    if (models.generator === "absent" && !library.value.generator_note) void openLibrary(); // it says why
  });
  events.addEventListener("watch", (event) => {
    const { state, note } = JSON.parse(event.data) as { state: string; note: string };
    if (state === "failed") notify(note, "error");
  });
}
