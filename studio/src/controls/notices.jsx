import { announcement, dismiss, notices } from "../state/notices.js";
import { IconButton } from "./button.jsx";
import { Cross } from "./icons.jsx";

export function Notices() {
  return (
    <>
      <div class="notices" role="status" aria-live="polite">
        {notices.value.map(({ id, text, kind }) => (
          <div key={id} class={`notice notice-${kind}`}>
            <p>{text}</p>
            <IconButton label="Close" icon={Cross} size={16} onClick={() => dismiss(id)} />
          </div>
        ))}
      </div>
      <div class="hidden" role="status" aria-live="polite">
        {announcement}
      </div>
    </>
  );
}
