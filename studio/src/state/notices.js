// Short messages at the bottom of the page, also read out by screen readers.
import { signal } from "@preact/signals";

const SHOWN_MS = 6000;
let next = 1;

export const notices = signal([]);
/** Said to screen readers only: what sighted users see happen. */
export const announcement = signal("");

export function notify(text, kind = "info") {
  const id = next++;
  notices.value = [...notices.value, { id, text, kind }];
  if (kind !== "error") setTimeout(() => dismiss(id), SHOWN_MS);
}

export function dismiss(id) {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

export function announce(text) {
  // A repeated text is only read again if the region changes, hence the alternating space.
  announcement.value = announcement.value === text ? `${text}\u00a0` : text;
}
