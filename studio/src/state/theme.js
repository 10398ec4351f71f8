// Light, dark, or as the system says.
import { effect, signal } from "@preact/signals";
import { keep, load } from "./storage.js";

export const theme = signal(load("theme") ?? "system");

const system = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(system.matches);
system.addEventListener("change", (event) => (systemDark.value = event.matches));

/** The theme on the screen, "light" or "dark". Canvases redraw when it changes. */
export const shownTheme = signal("light");

export function startTheme() {
  keep("theme", () => theme.value);
  effect(() => {
    const shown = theme.value === "system" ? (systemDark.value ? "dark" : "light") : theme.value;
    document.documentElement.dataset.theme = shown;
    shownTheme.value = shown;
  });
}
