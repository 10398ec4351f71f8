// One principle as a card.
import { useMemo, useRef, useState } from "preact/hooks";
import { Button, IconButton } from "../controls/button.jsx";
import { GrowingText, NumberInput, Switch } from "../controls/fields.jsx";
import { Down, Grip, Right, Trash, Turn, Up, Warning } from "../controls/icons.jsx";
import { announce } from "../state/notices.js";
import { askedText, isTurnable } from "./changes.js";
import { mistakesByKey } from "./check.js";
import { dragged, gripHandlers, shiftOf } from "./reorder.js";
import { change, changeText, move, principles, removePrinciple, saved, turn } from "./set.js";

export function Card({ principle, index, count }) {
  const { key, name, on } = principle;
  const mistakes = mistakesByKey.value.get(key) ?? [];
  const isDragged = dragged.value?.key === key;
  const shift = shiftOf(key, index);
  const classes = [
    "card",
    !on && "card-off",
    isDragged && "card-dragged",
    dragged.value && !isDragged && "card-aside",
    isCardEdited(principle) && "card-edited",
    mistakes.some((m) => m.severity === "error") && "card-mistaken",
  ];
  const item = useRef(null);
  const onKeyDown = (event) => {
    if (!event.altKey || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
    event.preventDefault();
    moveBy(key, event.key === "ArrowUp" ? -1 : 1, document.activeElement);
  };
  return (
    <li
      ref={item}
      class={classes.filter(Boolean).join(" ")}
      style={{ transform: shift ? `translateY(${shift}px)` : "" }}
      onKeyDown={onKeyDown}
      data-key={key}
    >
      <div class="card-head">
        <GripButton principleKey={key} index={index} name={name} />
        <input
          class="card-name"
          aria-label="Name"
          value={name}
          spellcheck={false}
          onInput={(event) => change(key, { name: event.currentTarget.value })}
        />
        <span class="card-moves">
          <IconButton label={`Move ${name} up`} icon={Up} size={16} disabled={index === 0} onClick={(event) => moveBy(key, -1, event.currentTarget)} />
          <IconButton label={`Move ${name} down`} icon={Down} size={16} disabled={index === count - 1} onClick={(event) => moveBy(key, 1, event.currentTarget)} />
        </span>
        <Switch label={`${name} is on`} hideLabel checked={on} onChange={(checked) => change(key, { on: checked })} />
      </div>
      <GrowingText
        class="card-text"
        aria-label={`Text of ${name}`}
        placeholder="What should a reply do?"
        value={askedText(principle) ?? ""}
        aria-invalid={mistakes.length > 0}
        aria-describedby={mistakes.length > 0 ? `mistakes-${key}` : undefined}
        onInput={(event) => changeText(key, event.currentTarget.value.replace(/\n/g, " "))}
      />
      <Mistakes id={`mistakes-${key}`} mistakes={mistakes} />
      <CardFoot principle={principle} />
    </li>
  );
}

function isCardEdited(principle) {
  const was = saved.value.principles.find((p) => p.id === principle.id);
  if (!was) return true;
  return ["name", "definition", "negative", "weight", "on", "turned"].some((field) => was[field] !== principle[field]);
}

function moveBy(key, step, focused) {
  const from = principles.value.findIndex((p) => p.key === key);
  if (!move(key, from + step)) return;
  announce(`Moved to position ${from + step + 1} of ${principles.value.length}.`);
  // Moving an element in the document takes the focus from it.
  requestAnimationFrame(() => focused?.focus());
}

function GripButton({ principleKey, index, name }) {
  const handlers = useMemo(() => gripHandlers(principleKey, index), [principleKey, index]);
  return (
    <button
      type="button"
      class="grip"
      aria-label={`Move ${name}`}
      title="Drag to move, or press Alt and an arrow key"
      {...handlers}
      onKeyDown={(event) => {
        if (event.altKey || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
        event.preventDefault();
        moveBy(principleKey, event.key === "ArrowUp" ? -1 : 1, event.currentTarget);
      }}
    >
      <Grip size={18} />
    </button>
  );
}

function Mistakes({ id, mistakes }) {
  if (mistakes.length === 0) return null;
  return (
    <ul class="mistakes" id={id}>
      {mistakes.map((mistake, index) => (
        <li key={index} class={`mistake-${mistake.severity}`}>
          <Warning size={15} />
          <span>{mistake.message}</span>
        </li>
      ))}
    </ul>
  );
}

function CardFoot({ principle }) {
  const { key, name, weight, turned } = principle;
  const [open, setOpen] = useState(false);
  return (
    <>
      <div class="card-foot">
        <label class="weight">
          Weight
          <NumberInput min={0.1} max={1000} step="any" value={weight} onValue={(value) => change(key, { weight: value })} />
        </label>
        <Button
          kind="quiet"
          small
          class="turn"
          aria-pressed={turned}
          disabled={!isTurnable(principle)}
          title={isTurnable(principle) ? "Ask for the opposite" : "Write the opposite under More first"}
          onClick={() => turn(key)}
        >
          <Turn size={15} /> Opposite
        </Button>
        <span class="card-tools">
          <IconButton
            label={`More about ${name}`}
            icon={Right}
            size={16}
            class={open ? "is-open" : ""}
            aria-expanded={open}
            onClick={() => setOpen(!open)}
          />
          <IconButton label={`Delete ${name}`} icon={Trash} size={16} onClick={(event) => remove(event, key, name)} />
        </span>
      </div>
      {open && <CardMore principle={principle} />}
    </>
  );
}

function CardMore({ principle }) {
  const { key, id, definition, negative, turned } = principle;
  return (
    <div class="card-more">
      <label>
        {turned ? "Text when it is not turned" : "Opposite"}
        <GrowingText
          placeholder="A sentence that asks for the opposite, about as long"
          value={(turned ? definition : negative) ?? ""}
          onInput={(event) => {
            const text = event.currentTarget.value.replace(/\n/g, " ");
            change(key, turned ? { definition: text } : { negative: text === "" ? null : text });
          }}
        />
      </label>
      <p class="card-id">
        Id <code>{id}</code>
      </p>
    </div>
  );
}

/** Deletes a card and hands the focus to its neighbour. */
function remove(event, key, name) {
  const card = event.currentTarget.closest("li");
  const next = card.nextElementSibling ?? card.previousElementSibling;
  removePrinciple(key);
  announce(`Deleted ${name}. Undo brings it back.`);
  requestAnimationFrame(() => (next?.querySelector(".card-text") ?? document.getElementById("add-principle"))?.focus());
}
