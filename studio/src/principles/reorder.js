// Dragging a card by its grip, with a mouse, a pen or a finger.
import { signal } from "@preact/signals";
import { move } from "./set.js";

/** Distance from the edge of the list, in pixels, within which it scrolls. */
const EDGE = 48;
const SPEED = 9;

/** The card that is dragged: `{ key, offset, target }`, or null. `offset` is in pixels. */
export const dragged = signal(null);

/**
 * Handlers for the grip of a card. The other cards make room while it moves; the order changes once,
 * when the grip is let go, so that it is one step to undo.
 */
export function gripHandlers(key, index) {
  let start = null;

  const track = (event) => {
    if (!start) return;
    start.pointerY = event.clientY;
    const offset = start.pointerY - start.y + start.scroller.scrollTop - start.scrolled;
    const middle = start.boxes[index].middle + offset;
    const target = start.boxes.filter((box, i) => i !== index && box.middle < middle).length;
    dragged.value = { key, index, target, offset, height: start.boxes[index].height };
  };

  const scroll = () => {
    if (!start) return;
    const { top, bottom } = start.scroller.getBoundingClientRect();
    if (start.pointerY < top + EDGE) start.scroller.scrollTop -= SPEED;
    if (start.pointerY > bottom - EDGE) start.scroller.scrollTop += SPEED;
    track({ clientY: start.pointerY });
    start.frame = requestAnimationFrame(scroll);
  };

  const end = (event, keep) => {
    if (!start) return;
    cancelAnimationFrame(start.frame);
    start = null;
    const target = dragged.value?.target ?? index;
    dragged.value = null;
    if (keep) move(key, target);
  };

  return {
    onPointerDown(event) {
      if (event.button !== 0) return;
      event.preventDefault();
      const grip = event.currentTarget;
      grip.setPointerCapture(event.pointerId);
      grip.focus();
      const list = grip.closest("ol");
      const scroller = grip.closest(".pane-scroll");
      start = {
        y: event.clientY,
        pointerY: event.clientY,
        scroller,
        scrolled: scroller.scrollTop,
        boxes: [...list.children].map((item) => {
          const { top, height } = item.getBoundingClientRect();
          return { middle: top + height / 2, height };
        }),
      };
      track(event);
      start.frame = requestAnimationFrame(scroll);
    },
    onPointerMove: track,
    onPointerUp: (event) => end(event, true),
    onPointerCancel: (event) => end(event, false),
    onLostPointerCapture: (event) => end(event, false),
  };
}

/** How far a card stands aside, in pixels, while another one is dragged past it. */
export function shiftOf(key, index) {
  const drag = dragged.value;
  if (!drag) return 0;
  if (drag.key === key) return drag.offset;
  const gap = 10;
  if (index > drag.index && index <= drag.target) return -(drag.height + gap);
  if (index < drag.index && index >= drag.target) return drag.height + gap;
  return 0;
}
