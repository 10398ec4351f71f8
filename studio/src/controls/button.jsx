// Buttons, with and without words.

/** A button with a text. `kind` is "plain", "primary", "quiet" or "danger". */
export function Button({ kind = "plain", small = false, class: extra = "", children, ...rest }) {
  return (
    <button type="button" class={`button button-${kind} ${small ? "button-small" : ""} ${extra}`} {...rest}>
      {children}
    </button>
  );
}

/** A button that shows only an icon; `label` is its name and its tooltip. */
export function IconButton({ label, icon: Icon, size = 18, class: extra = "", ...rest }) {
  return (
    <button type="button" class={`icon-button ${extra}`} aria-label={label} title={label} {...rest}>
      <Icon size={size} />
    </button>
  );
}
