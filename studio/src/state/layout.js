// Which panes fit on the screen, and which of them is in front.
//
//   wide    principles | chat | runs
//   medium  principles or runs | chat
//   narrow  one pane at a time
import { computed, signal } from "@preact/signals";
import { keep, load } from "./storage.js";

const wide = matchMedia("(min-width: 1240px)");
const medium = matchMedia("(min-width: 800px)");

const measure = () => (wide.matches ? "wide" : medium.matches ? "medium" : "narrow");
export const layout = signal(measure());
for (const query of [wide, medium]) query.addEventListener("change", () => (layout.value = measure()));

/** The pane in front on a narrow screen, and beside the chat on a medium one. */
export const front = signal("chat");
export const side = signal("principles");
/** On wide screens the runs can be folded away to give the chat more room. */
export const runsShown = signal(load("runs-shown") ?? true);

export const panes = [
  { id: "principles", title: "Principles" },
  { id: "chat", title: "Chat" },
  { id: "runs", title: "Runs" },
];

export const visible = computed(() => {
  if (layout.value === "narrow") return [front.value];
  if (layout.value === "medium") return [side.value, "chat"];
  return runsShown.value ? ["principles", "chat", "runs"] : ["principles", "chat"];
});

export function show(pane) {
  front.value = pane;
  if (pane === "runs") runsShown.value = true;
  if (pane !== "chat") side.value = pane;
}

/** Brings a pane to the front and moves the keyboard there. */
export function goTo(pane) {
  show(pane);
  requestAnimationFrame(() => document.getElementById(`pane-${pane}`)?.focus());
}

export function startLayout() {
  keep("runs-shown", () => runsShown.value);
}
