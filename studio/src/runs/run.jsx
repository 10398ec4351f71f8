// One run: its state, curves and sample replies.
import { useState } from "preact/hooks";
import { Progress } from "../controls/bar.jsx";
import { Button } from "../controls/button.jsx";
import { Cross, Pause, Play, Right } from "../controls/icons.jsx";
import { adapterOf, models } from "../state/server.js";
import { show } from "../state/layout.js";
import { set } from "../chat/settings.js";
import { Curves, formatMetric } from "./curves.jsx";
import { control, ending, isFinal, runNotes, samples, shownId, showRun, steps } from "./runs.js";

const STATUS = {
  queued: "waiting",
  running: "running",
  paused: "paused",
  finished: "done",
  failed: "failed",
  cancelled: "cancelled",
};

export function RunItem({ run }) {
  const open = shownId.value === run.id;
  return (
    <li class={`run run-${run.status} ${open ? "run-open" : ""}`}>
      <button type="button" class="run-head" aria-expanded={open} onClick={() => showRun(open ? null : run.id)}>
        <span class="run-dot" aria-hidden="true" />
        <span class="run-name">{run.name || run.id}</span>
        <span class="run-status">{isEnding(run) ? "ending" : (STATUS[run.status] ?? run.status)}</span>
        <span class="run-facts">
          {KINDS[run.kind] ?? run.kind}, {stepsOf(run)}, {formatSeconds(run.seconds)}
        </span>
      </button>
      {!isFinal(run) && <RunProgress run={run} />}
      {open && <RunBody run={run} />}
    </li>
  );
}

const isEnding = (run) => ending.value.has(run.id) && !isFinal(run);

const KINDS = { align: "alignment", sft: "fine-tuning", reward: "reward model" };

const stepsOf = ({ step, steps: all }) => (all ? `step ${step} of ${all}` : `step ${step ?? 0}`);

export function formatSeconds(seconds) {
  if (!Number.isFinite(seconds)) return "";
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function RunProgress({ run }) {
  if (run.status === "queued") return null;
  // A budget in minutes has no known number of steps; the time then says how far it is.
  const byTime = !run.steps && run.minutes;
  return <Progress label={`Progress of ${run.name || run.id}`} done={byTime ? run.seconds : run.step} of={byTime ? run.minutes * 60 : run.steps} />;
}

function RunBody({ run }) {
  return (
    <div class="run-body">
      {/* A finished run can have a remark, such as that it was stopped early. */}
      {run.error && <p class={run.status === "failed" ? "error" : "run-note"}>{run.error}</p>}
      {runNotes.value.map((note) => (
        <p key={note} class="run-note">
          {note}
        </p>
      ))}
      <RunControls run={run} />
      <Curves steps={steps.value} />
      <Samples />
      {run.folder && (
        <p class="run-folder">
          Files in <code>{run.folder}</code>
        </p>
      )}
    </div>
  );
}

function RunControls({ run }) {
  const adapter = models.value.find((entry) => run.adapter && adapterOf(entry) === run.adapter);
  const chat = () => {
    set({ model: adapter.id });
    show("chat");
  };
  if (run.status === "finished") {
    return adapter ? (
      <Button small kind="primary" onClick={chat}>
        Chat with it
      </Button>
    ) : null;
  }
  if (isFinal(run)) {
    return (
      <Button small onClick={() => control(run, "resume")}>
        <Play size={15} /> Resume
      </Button>
    );
  }
  if (isEnding(run)) return <p class="hint">The run ends after this step.</p>;
  return (
    <div class="run-controls">
      {run.status === "paused" ? (
        <Button small onClick={() => control(run, "resume")}>
          <Play size={15} /> Resume
        </Button>
      ) : (
        <Button small disabled={run.status !== "running"} onClick={() => control(run, "pause")}>
          <Pause size={15} /> Pause
        </Button>
      )}
      <Button small onClick={() => control(run, "cancel")}>
        <Cross size={15} /> Cancel
      </Button>
    </div>
  );
}

/** Older samples are shown on request, so that the list of runs stays in reach. */
const FIRST_SAMPLES = 4;

function Samples() {
  const [all, setAll] = useState(false);
  if (samples.value.length === 0) return null;
  const list = all ? samples.value : samples.value.slice(0, FIRST_SAMPLES);
  return (
    <section class="samples" aria-label="Sample replies">
      <h3 class="eyebrow">Replies, newest first</h3>
      <ol>
        {list.map((sample) => (
          <li key={sample.key ?? `${sample.step} ${sample.prompt}`} class="sample">
            <p class="sample-head">
              <span>Step {sample.step}</span>
              <span class="number">{Number.isFinite(sample.reward) ? formatMetric(sample.reward) : ""}</span>
            </p>
            <p class="sample-prompt">{sample.prompt}</p>
            <p class="sample-reply">{sample.reply}</p>
          </li>
        ))}
      </ol>
      {samples.value.length > FIRST_SAMPLES && (
        <button type="button" class="disclosure" aria-expanded={all} onClick={() => setAll(!all)}>
          <Right size={14} /> {all ? "Only the newest" : `All ${samples.value.length} replies`}
        </button>
      )}
    </section>
  );
}
