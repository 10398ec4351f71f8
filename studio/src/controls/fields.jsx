// Labelled inputs.
import { useEffect, useId, useRef, useState } from "preact/hooks";

export function Field({ label, hint, children, class: extra = "" }) {
  const id = useId();
  return (
    <div class={`field ${extra}`}>
      <label for={id}>{label}</label>
      {children({ id, ...(hint ? { "aria-describedby": `${id}-hint` } : {}) })}
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </div>
  );
}

/**
 * A number that may be left empty, which means null. What is typed stays as it is until it is a
 * number within the bounds; leaving the field brings the last valid one back.
 */
export function NumberInput({ value, onValue, min, max, step = 1, empty = false, ...rest }) {
  const [typed, setTyped] = useState(null);
  const read = (text) => {
    setTyped(text);
    if (text === "" && empty) return onValue(null);
    const number = Number(text);
    const whole = step !== 1 || Number.isInteger(number);
    if (text !== "" && whole && number >= min && number <= max) onValue(number);
  };
  return (
    <input
      type="number"
      inputmode="decimal"
      class="input"
      min={min}
      max={max}
      step={step}
      value={typed ?? value ?? ""}
      onInput={(event) => read(event.currentTarget.value)}
      onBlur={() => setTyped(null)}
      {...rest}
    />
  );
}

/** A text that grows with what is written in it. */
export function GrowingText({ value, inputRef, class: extra = "", ...rest }) {
  const own = useRef(null);
  const ref = inputRef ?? own;
  const fit = () => {
    const area = ref.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
  };
  useEffect(fit, [value]);
  useEffect(() => {
    let width = 0;
    const observer = new ResizeObserver(([entry]) => {
      if (entry.contentRect.width === width) return; // its own change of height
      width = entry.contentRect.width;
      fit();
    });
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return <textarea ref={ref} rows={1} class={`input growing ${extra}`} value={value} {...rest} />;
}

export function Switch({ label, checked, onChange, hideLabel = false, ...rest }) {
  return (
    <label class="switch" title={hideLabel ? label : undefined}>
      <input type="checkbox" role="switch" checked={checked} onChange={(event) => onChange(event.currentTarget.checked)} {...rest} />
      <span class="switch-track" aria-hidden="true" />
      <span class={hideLabel ? "hidden" : "switch-label"}>{label}</span>
    </label>
  );
}

/** A few choices of which one holds, as radio buttons in a row. */
export function Choice({ legend, options, value, onChange, hideLegend = true }) {
  const name = useId();
  return (
    <fieldset class="choice">
      <legend class={hideLegend ? "hidden" : ""}>{legend}</legend>
      <div class="choice-options">
        {options.map((option) => (
          <label key={option.value} title={option.title}>
            <input type="radio" name={name} checked={option.value === value} onChange={() => onChange(option.value)} />
            <span>{option.label}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}
