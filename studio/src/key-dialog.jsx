import { useState } from "preact/hooks";
import { giveKey, keyWanted } from "./api/key.js";
import { Button } from "./controls/button.jsx";
import { Dialog } from "./controls/dialog.jsx";
import { Field } from "./controls/fields.jsx";

/** Asks for the key of a server that runs with `--api-key`. */
export function KeyDialog() {
  const [key, setKey] = useState("");
  if (keyWanted.value === null) return null;
  const submit = (event) => {
    event.preventDefault();
    if (key.trim() !== "") giveKey(key.trim());
  };
  return (
    <Dialog title="This server asks for a key">
      <form onSubmit={submit}>
        {keyWanted.value === "refused" && (
          <p class="error" role="alert">
            The server does not accept this key.
          </p>
        )}
        <Field label="API key" hint="The value of --api-key. This tab keeps it until you close the tab.">
          {(field) => (
            <input {...field} class="input" type="password" autocomplete="off" autofocus value={key} onInput={(event) => setKey(event.currentTarget.value)} />
          )}
        </Field>
        <div class="dialog-actions">
          <Button kind="primary" type="submit" disabled={key.trim() === ""}>
            Continue
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
