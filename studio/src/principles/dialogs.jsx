// The questions that opening and saving a set can raise.
import { useState } from "preact/hooks";
import { Button } from "../controls/button.jsx";
import { Dialog } from "../controls/dialog.jsx";
import { Field } from "../controls/fields.jsx";
import { notify } from "../state/notices.js";
import { NAME_PATTERN, open, overwrite, question, reloadFromDisk, saveAs, sets } from "./files.js";
import { saved } from "./set.js";

const close = () => (question.value = null);

export function SetDialogs() {
  switch (question.value?.kind) {
    case "save-as":
      return <SaveAs />;
    case "conflict":
      return <Conflict />;
    case "discard":
      return <Discard name={question.value.name} />;
    default:
      return null;
  }
}

/** The name, or the name with the first number that makes it new. */
function freeName(name) {
  const taken = new Set(sets.value.map((set) => set.name));
  for (let n = 1; ; n += 1) {
    const candidate = n === 1 ? name : `${name}-${n}`;
    if (!taken.has(candidate)) return candidate;
  }
}

function SaveAs() {
  const { name: current, source, title: currentTitle } = saved.value;
  const [name, setName] = useState(() => freeName(source === "shipped" ? `my-${current}` : "mine"));
  const [title, setTitle] = useState(source === "shipped" ? currentTitle : "");
  const [refusal, setRefusal] = useState(null);
  const valid = NAME_PATTERN.test(name);
  const shipped = sets.value.some((set) => set.name === name && set.source === "shipped");
  const exists = sets.value.some((set) => set.name === name && set.source === "file");
  const submit = async (event) => {
    event.preventDefault();
    if (!valid || shipped) return;
    try {
      await saveAs(name, title.trim());
    } catch (error) {
      setRefusal(error.message);
    }
  };
  let problem = null;
  if (!valid) problem = "Use lower-case letters and digits, joined by hyphens.";
  else if (shipped) problem = "A set of this name comes with Parr. Choose another name.";
  return (
    <Dialog title="Save as a new set" onClose={close}>
      {source === "shipped" && <p>This set comes with Parr and stays as it is. Your version gets a name of its own.</p>}
      <form onSubmit={submit}>
        <Field label="Name" hint={problem ?? `The file is ${name}.toml.`}>
          {(field) => (
            <input {...field} class="input" value={name} autofocus aria-invalid={problem !== null} onInput={(event) => setName(event.currentTarget.value)} />
          )}
        </Field>
        <Field label="Title">
          {(field) => <input {...field} class="input" value={title} onInput={(event) => setTitle(event.currentTarget.value)} />}
        </Field>
        {exists && valid && <p class="warning">{name}.toml exists. Saving replaces it.</p>}
        {refusal && (
          <p class="error" role="alert">
            {refusal}
          </p>
        )}
        <div class="dialog-actions">
          <Button onClick={close}>Cancel</Button>
          <Button kind="primary" type="submit" disabled={problem !== null}>
            {exists ? "Replace" : "Save"}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

function Conflict() {
  return (
    <Dialog title="The file has changed" onClose={close}>
      <p>
        <code>{saved.value.name}.toml</code> has changed on disk since you opened it. Which version should stay?
      </p>
      <div class="dialog-actions">
        <Button onClick={close}>Cancel</Button>
        <Button onClick={() => reloadFromDisk().catch((error) => notify(error.message, "error"))}>Reload the file</Button>
        <Button kind="danger" onClick={overwrite}>
          Overwrite it
        </Button>
      </div>
    </Dialog>
  );
}

function Discard({ name }) {
  return (
    <Dialog title="Discard your edits?" onClose={close}>
      <p>The edits in this set are not saved.</p>
      <div class="dialog-actions">
        <Button onClick={close}>Keep editing</Button>
        <Button
          kind="danger"
          onClick={() => {
            close();
            open(name).catch((error) => notify(error.message, "error"));
          }}
        >
          Discard
        </Button>
      </div>
    </Dialog>
  );
}
