// The form that starts an alignment.
import { useState } from "preact/hooks";
import { Button } from "../controls/button.jsx";
import { Choice, Field, NumberInput } from "../controls/fields.jsx";
import { hasErrors } from "../principles/check.js";
import { isEdited, principles, saved } from "../principles/set.js";
import { startAlignment } from "./runs.js";

const BUDGETS = [2, 10, 30, 60];
const LONGEST_MINUTES = 7 * 24 * 60;

export function StartRun() {
  const [minutes, setMinutes] = useState(10);
  const [name, setName] = useState("");
  const [stepCount, setStepCount] = useState(null);
  const [settingsText, setSettingsText] = useState("");
  const [refusal, setRefusal] = useState(null);
  const [starting, setStarting] = useState(false);
  const on = principles.value.filter((p) => p.on).length;
  const overrides = parseSettings(settingsText);
  const submit = async (event) => {
    event.preventDefault();
    setRefusal(null);
    setStarting(true);
    try {
      await startAlignment({ name: name.trim(), minutes, steps: stepCount, settings: overrides.value });
      setName("");
    } catch (error) {
      setRefusal(error.message);
    } finally {
      setStarting(false);
    }
  };
  return (
    <form class="start-run" onSubmit={submit}>
      <p class="start-run-what">
        Train an adapter that follows{" "}
        <strong>
          {on} {on === 1 ? "principle" : "principles"}
        </strong>{" "}
        of {saved.value.name ?? "the unsaved set"}
        {isEdited.value ? ", with your edits" : ""}.
      </p>
      {stepCount === null && (
        <div class="budget">
          <Choice
            legend="Time for training"
            value={minutes}
            onChange={setMinutes}
            options={BUDGETS.map((value) => ({ value, label: value < 60 ? `${value} min` : "1 h" }))}
          />
          <label class="budget-other">
            <NumberInput aria-label="Minutes" min={1} max={LONGEST_MINUTES} value={minutes} onValue={setMinutes} /> min
          </label>
        </div>
      )}
      <details class="advanced">
        <summary>Advanced</summary>
        <Field label="Name" hint="Empty: the server chooses one.">
          {(field) => <input {...field} class="input" value={name} onInput={(event) => setName(event.currentTarget.value)} />}
        </Field>
        <Field label="Steps" hint="A number of steps instead of a time.">
          {(field) => <NumberInput {...field} min={1} max={100000} empty placeholder="by time" value={stepCount} onValue={setStepCount} />}
        </Field>
        <Field label="Settings" hint={overrides.mistake ?? "JSON that overrides the settings of the run."}>
          {(field) => (
            <textarea
              {...field}
              class="input code"
              rows={2}
              spellcheck={false}
              placeholder='{"learning_rate": 1e-4}'
              aria-invalid={overrides.mistake !== null}
              value={settingsText}
              onInput={(event) => setSettingsText(event.currentTarget.value)}
            />
          )}
        </Field>
      </details>
      {refusal && (
        <p class="error" role="alert">
          {refusal}
        </p>
      )}
      <Button kind="primary" type="submit" disabled={on === 0 || hasErrors.value || starting || overrides.mistake !== null}>
        Start alignment
      </Button>
      {hasErrors.value && <p class="hint">Repair the principles first.</p>}
    </form>
  );
}

function parseSettings(text) {
  if (text.trim() === "") return { value: null, mistake: null };
  try {
    const value = JSON.parse(text);
    const isTable = typeof value === "object" && value !== null && !Array.isArray(value);
    return isTable ? { value, mistake: null } : { value: null, mistake: "This must be a JSON object." };
  } catch {
    return { value: null, mistake: "This is not JSON yet." };
  }
}
