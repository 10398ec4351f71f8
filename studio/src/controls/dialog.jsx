// A modal dialog. The browser's own element keeps the keyboard inside and closes on Escape.
import { useId, useLayoutEffect, useRef } from "preact/hooks";

export function Dialog({ title, onClose, children, class: extra = "" }) {
  const ref = useRef(null);
  const id = useId();
  // Before the next frame, so that the focus is never lost in between.
  useLayoutEffect(() => {
    const dialog = ref.current;
    const opener = document.activeElement;
    dialog.showModal();
    return () => {
      dialog.close();
      opener?.focus?.();
    };
  }, []);
  return (
    <dialog
      ref={ref}
      class={`dialog ${extra}`}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault(); // closing is the owner's decision
        onClose?.();
      }}
      onClose={() => {
        // The browser lets a second Escape close a dialog whatever its owner says.
        if (!ref.current) return;
        if (onClose) onClose();
        else ref.current.showModal();
      }}
    >
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  );
}
