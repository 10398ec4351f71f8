// The sampling settings.
import { IconButton } from "../controls/button.jsx";
import { Field, NumberInput } from "../controls/fields.jsx";
import { Cross } from "../controls/icons.jsx";
import { server } from "../state/server.js";
import { model } from "./conversation.js";
import { candidateCount, chosenReward, set, settings } from "./settings.js";

const MOST_CANDIDATES = 16;

export function SamplingSettings({ onClose }) {
  const { temperature, maxTokens, seed, tell } = settings.value;
  const bestOf = candidateCount.value;
  const rewards = server.value?.rewards ?? [];
  const context = model.value?.parr?.context ?? 8192;
  return (
    <section
      class="sampling"
      aria-label="Settings"
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        onClose();
      }}
    >
      <IconButton class="sampling-close" label="Close the settings" icon={Cross} size={16} onClick={onClose} />
      <Field label="Temperature" hint={bestOf > 1 && temperature === 0 ? "At 0 all candidates are the same." : "0 always takes the likeliest token."}>
        {(field) => (
          <div class="range">
            <input {...field} type="range" min="0" max="2" step="0.05" value={temperature} onInput={(event) => set({ temperature: Number(event.currentTarget.value) })} />
            <output class="number">{temperature.toFixed(2)}</output>
          </div>
        )}
      </Field>
      <Field label="Best of" hint={rewards.length > 0 ? "Writes this many replies and keeps the best one." : "Needs a reward model. This server has none."}>
        {(field) => (
          <NumberInput {...field} min={1} max={MOST_CANDIDATES} value={bestOf} disabled={rewards.length === 0} onValue={(value) => set({ bestOf: value })} />
        )}
      </Field>
      <Field label="Max tokens" hint={`At most ${context}, with the prompt.`}>
        {(field) => <NumberInput {...field} min={1} max={context} value={maxTokens} onValue={(value) => set({ maxTokens: value })} />}
      </Field>
      <Field label="Seed" hint="Empty: another one each time.">
        {(field) => <NumberInput {...field} min={0} max={2 ** 31 - 1} empty placeholder="random" value={seed} onValue={(value) => set({ seed: value })} />}
      </Field>
      <Field label="Tell the principles" hint={TELL_HINTS[tell]}>
        {(field) => (
          <select {...field} class="select" value={tell} onChange={(event) => set({ tell: event.currentTarget.value })}>
            <option value="system">in the system message</option>
            <option value="user">in front of the question</option>
            <option value="none">to nobody</option>
          </select>
        )}
      </Field>
      <Field label="Reward model" hint="Scores the replies.">
        {(field) => (
          <select {...field} class="select" value={chosenReward.value ?? ""} disabled={rewards.length === 0} onChange={(event) => set({ reward: event.currentTarget.value || null })}>
            <option value="">{server.value?.reward ? `${server.value.reward} (server)` : "none"}</option>
            {rewards.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        )}
      </Field>
    </section>
  );
}

const TELL_HINTS = {
  system: "The model reads them first.",
  user: "Small models follow this more.",
  none: "Only the reward model reads them.",
};
