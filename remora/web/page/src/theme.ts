/** Dark or light: the system's choice until somebody chooses. Canvases read their inks from the style sheet. */
import { effect, signal } from "@preact/signals";

export type Theme = "dark" | "light";
export interface Inks {
  surface: string;
  stage: string;
  ink: string;
  muted: string;
  grid: string;
  accent: string;
  left: string;
  right: string;
  middle: string;
}

const KEY = "remora.theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const stored = localStorage.getItem(KEY) as Theme | null;

export const theme = signal<Theme>(stored ?? (system.matches ? "dark" : "light"));
export const inks = signal<Inks>(readInks());
export const calm = matchMedia("(prefers-reduced-motion: reduce)");
export const touch = matchMedia("(hover: none)");

system.addEventListener("change", () => {
  if (!localStorage.getItem(KEY)) theme.value = system.matches ? "dark" : "light";
});
effect(() => {
  document.documentElement.dataset.theme = theme.value;
  inks.value = readInks();
});

export function toggleTheme(): void {
  theme.value = theme.value === "dark" ? "light" : "dark";
  localStorage.setItem(KEY, theme.value);
}

function readInks(): Inks {
  const style = getComputedStyle(document.documentElement);
  const ink = (name: string) => style.getPropertyValue(`--${name}`).trim() || "#888888";
  return {
    surface: ink("surface"),
    stage: ink("stage"),
    ink: ink("ink"),
    muted: ink("muted"),
    grid: ink("grid"),
    accent: ink("accent"),
    left: ink("left"),
    right: ink("right"),
    middle: ink("middle"),
  };
}

/** ``#rrggbb`` mixed with another, 0 to 1. */
export function mix(one: string, other: string, share: number): string {
  const channel = (at: number) => {
    const a = parseInt(one.slice(at, at + 2), 16);
    const b = parseInt(other.slice(at, at + 2), 16);
    return Math.round(a + (b - a) * share)
      .toString(16)
      .padStart(2, "0");
  };
  return `#${channel(1)}${channel(3)}${channel(5)}`;
}
