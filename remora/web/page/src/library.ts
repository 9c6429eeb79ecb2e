/** The open library, its models, and what changes while the page is open. */
import { signal } from "@preact/signals";
import { get, type Library, type Models } from "./api";
import { notify } from "./notices";

export const library = signal<Library | null>(null);
export const libraryFault = signal<string | null>(null);

export async function openLibrary(): Promise<void> {
  libraryFault.value = null;
  try {
    library.value = await get<Library>("/api/library");
    document.title = `${library.value.name} · Remora studio`;
  } catch (fault) {
    libraryFault.value = (fault as Error).message;
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
