// The left pane: a set of principles as cards.
import { useState } from "preact/hooks";
import { Button, IconButton } from "../controls/button.jsx";
import { Plus, Redo, Undo } from "../controls/icons.jsx";
import { notify } from "../state/notices.js";
import { Card } from "./card.jsx";
import { ChangeList } from "./change-list.jsx";
import { checkError, setMistakes } from "./check.js";
import { isSaving, open, question, save, sets } from "./files.js";
import { addPrinciple, canRedo, canUndo, changes, isEdited, principles, redo, revert, saved, undo } from "./set.js";

const NEW = "\u0000new"; // no set can have this name

export function PrinciplesPane() {
  const [view, setView] = useState("cards");
  const shown = isEdited.value ? view : "cards";
  return (
    <div class="principles" onKeyDown={onKeyDown}>
      <header class="pane-head">
        <SetMenu />
      </header>
      <div class="pane-scroll" tabindex={-1}>
        <SetNotes />
        {shown === "cards" ? <Cards /> : <Changes />}
      </div>
      <Toolbar view={shown} onView={setView} />
    </div>
  );
}

/** Undo and redo act on the whole set, also from within a text. */
function onKeyDown(event) {
  const command = (event.ctrlKey || event.metaKey) && !event.altKey;
  const key = event.key.toLowerCase();
  if (!command || (key !== "z" && key !== "y")) return;
  event.preventDefault();
  if (key === "y" || event.shiftKey) redo();
  else undo();
}

function SetMenu() {
  const { name } = saved.value;
  const choose = async (event) => {
    const menu = event.currentTarget;
    const next = menu.value === NEW ? null : menu.value;
    menu.value = name ?? NEW; // until the set is open
    if (isEdited.value) question.value = { kind: "discard", name: next };
    else await open(next).catch((error) => notify(error.message, "error"));
  };
  // The open set is listed even if its file is gone.
  const isListed = name === null || sets.value.some((set) => set.name === name);
  const listed = isListed ? sets.value : [{ name, source: "file" }, ...sets.value];
  const group = (source) => listed.filter((set) => set.source === source);
  const option = (set) => (
    <option key={set.name} value={set.name}>
      {set.name}
    </option>
  );
  return (
    <div class="set-menu">
      <select class="select select-title" aria-label="Set of principles" value={name ?? NEW} onChange={choose}>
        {group("file").length > 0 && <optgroup label="Your sets">{group("file").map(option)}</optgroup>}
        <optgroup label="Sets that come with Parr">{group("shipped").map(option)}</optgroup>
        <option value={NEW}>New set</option>
      </select>
      {saved.value.title && (
        <p class="set-title" title={saved.value.title}>
          {saved.value.title}
        </p>
      )}
    </div>
  );
}

function Toolbar({ view, onView }) {
  const count = changes.value.length;
  return (
    <footer class="toolbar">
      <IconButton label="Undo" icon={Undo} disabled={!canUndo.value} onClick={undo} />
      <IconButton label="Redo" icon={Redo} disabled={!canRedo.value} onClick={redo} />
      <Button kind="quiet" small aria-pressed={view === "changes"} disabled={!isEdited.value} onClick={() => onView(view === "cards" ? "changes" : "cards")}>
        Changes
        {count > 0 && <span class="count">{count}</span>}
      </Button>
      <Button kind={isEdited.value ? "primary" : "plain"} small class="save" disabled={!isEdited.value || isSaving.value} onClick={save}>
        {saved.value.source === "shipped" || saved.value.unread.length > 0 ? "Save as\u2026" : "Save"}
      </Button>
    </footer>
  );
}

function SetNotes() {
  const { name, unread } = saved.value;
  return (
    <>
      {unread.length > 0 && (
        <div class="note error">
          <p>{name}.toml has mistakes and could not be read. Repair it in an editor.</p>
          <ul>
            {unread.map((mistake, index) => (
              <li key={index}>
                Line {mistake.line}: {mistake.message}
              </li>
            ))}
          </ul>
        </div>
      )}
      {checkError.value && <p class="note error">The set could not be checked. {checkError.value}</p>}
      {setMistakes.value.map((mistake, index) => (
        <p key={index} class={`note ${mistake.severity === "error" ? "error" : ""}`}>
          {mistake.message}
        </p>
      ))}
    </>
  );
}

function Cards() {
  const list = principles.value;
  const add = () => {
    const key = addPrinciple();
    requestAnimationFrame(() => document.querySelector(`[data-key="${key}"] .card-text`)?.focus());
  };
  return (
    <>
      {list.length === 0 && saved.value.unread.length === 0 && <p class="empty">This set is empty. Add a principle: one sentence that says what a good reply does.</p>}
      <ol class="cards" aria-label="Principles">
        {list.map((principle, index) => (
          <Card key={principle.key} principle={principle} index={index} count={list.length} />
        ))}
      </ol>
      <Button id="add-principle" class="add" kind="quiet" onClick={add}>
        <Plus size={16} /> Add a principle
      </Button>
    </>
  );
}

function Changes() {
  return (
    <section aria-label="Changes since the set was saved">
      <ChangeList changes={changes.value} />
      <Button small kind="quiet" onClick={revert}>
        Revert to the saved set
      </Button>
    </section>
  );
}
