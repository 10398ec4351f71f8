// Where a question is written, with the switch for before/after and the way to the settings.
import { useEffect, useRef, useState } from "preact/hooks";
import { Button, IconButton } from "../controls/button.jsx";
import { GrowingText, Switch } from "../controls/fields.jsx";
import { Send, Sliders, Stop } from "../controls/icons.jsx";
import { server } from "../state/server.js";
import { keep, load } from "../state/storage.js";
import { signal } from "@preact/signals";
import { isEdited, saved } from "../principles/set.js";
import { ask, isGenerating, model, stop } from "./conversation.js";
import { candidateCount, set, settings } from "./settings.js";
import { SamplingSettings } from "./sampling.jsx";

export const draft = signal(load("draft") ?? "");
keep("draft", () => draft.value);

export function Composer({ children }) {
  const [settingsOpen, setSettingsOpen] = useState(false);
  const area = useRef(null);
  const submit = () => {
    if (isGenerating.value || draft.value.trim() === "") return;
    ask(draft.value);
    draft.value = "";
  };
  useEffect(() => {
    const onKeyDown = (event) => {
      if (event.key === "Escape" && isGenerating.value && !document.querySelector("dialog[open]")) stop();
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, []);
  return (
    <div class="composer-wrap">
      {children}
      {settingsOpen && <SamplingSettings onClose={() => setSettingsOpen(false)} />}
      {settings.value.compare && <CompareBar />}
      <div class="composer">
        <GrowingText
          inputRef={area}
          id="composer"
          aria-label="Message"
          placeholder="Ask something"
          value={draft.value}
          onInput={(event) => (draft.value = event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            submit();
          }}
        />
        <div class="composer-tools">
          <Switch label="Before / after" checked={settings.value.compare} onChange={(compare) => set({ compare })} />
          <Button kind="quiet" small class="settings-button" aria-expanded={settingsOpen} onClick={() => setSettingsOpen(!settingsOpen)}>
            <Sliders size={16} />
            <span class="settings-summary">{summaryOf(settings.value, candidateCount.value)}</span>
          </Button>
          {isGenerating.value ? (
            <IconButton label="Stop" icon={Stop} class="send" onClick={stop} />
          ) : (
            <IconButton label="Send" icon={Send} class="send" disabled={draft.value.trim() === "" || !model.value} onClick={submit} />
          )}
        </div>
      </div>
    </div>
  );
}

function summaryOf({ temperature, seed }, candidates) {
  const parts = candidates > 1 ? [`best of ${candidates}`] : [];
  parts.push(`temperature ${temperature}`);
  if (seed !== null) parts.push(`seed ${seed}`);
  return parts.join(", ");
}

/** Says what a comparison will compare, so that two equal replies surprise nobody. */
function CompareBar() {
  const { before } = settings.value;
  const name = saved.value.name;
  const same = before === "saved" && !isEdited.value;
  return (
    <div class="compare-bar">
      <span class="compare-side">
        Before
        <select class="select select-small" aria-label="Before" value={before} onChange={(event) => set({ before: event.currentTarget.value })}>
          <option value="saved">{name ? `${name}, as saved` : "nothing saved yet"}</option>
          <option value="none">no principles</option>
        </select>
      </span>
      <span class="compare-side">
        After <strong>{isEdited.value ? "your edits" : name}</strong>
      </span>
      {same && <span class="hint">Nothing is edited. Change a principle to see a difference.</span>}
      {!server.value?.reward && <span class="hint">Without a reward model the replies are not scored.</span>}
    </div>
  );
}
