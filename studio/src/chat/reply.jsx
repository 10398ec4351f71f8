// One reply: its reasoning, its text, how it was chosen, and what can be done with it.
import { Progress } from "../controls/bar.jsx";
import { IconButton } from "../controls/button.jsx";
import { Copy, Warning } from "../controls/icons.jsx";
import { announce, notify } from "../state/notices.js";
import { Candidates, scoredCandidates } from "./candidates.jsx";
import { isOpen } from "./conversation.js";
import { Markdown } from "./markdown.jsx";

/** `compact` is for one side of a comparison, which shows the scores of both sides in its own way. */
export function Reply({ reply, seed, compact = false }) {
  const candidates = scoredCandidates(reply.parr);
  return (
    <div class={`reply reply-${reply.status}`} aria-busy={isOpen(reply)}>
      {reply.reasoning && <Reasoning text={reply.reasoning} open={isOpen(reply) && reply.text === ""} />}
      {reply.text && <Markdown text={reply.text} />}
      {isOpen(reply) && reply.text === "" && !reply.reasoning && <Waiting progress={reply.progress} />}
      {reply.status === "failed" && (
        <p class="error reply-error" role="alert">
          <Warning size={16} /> {reply.error}
        </p>
      )}
      {reply.status === "stopped" && <p class="reply-note">Stopped.</p>}
      {reply.finish === "length" && reply.status === "done" && <p class="reply-note">The reply reached the limit of tokens.</p>}
      {candidates.length > (compact ? 1 : 0) && <Candidates candidates={candidates} principles={reply.parr.principles ?? []} compact={compact} />}
      {!isOpen(reply) && reply.text && <Facts reply={reply} seed={seed} compact={compact} />}
    </div>
  );
}

function Reasoning({ text, open }) {
  return (
    <details class="reasoning" open={open}>
      <summary>Reasoning</summary>
      <Markdown text={text} />
    </details>
  );
}

const STAGES = { generating: "Writing candidates", scoring: "Scoring candidates" };

function Waiting({ progress }) {
  if (!progress) {
    return (
      <p class="waiting">
        <span class="waiting-dots" aria-hidden="true">
          <i />
          <i />
          <i />
        </span>
        <span class="hidden">The model is writing.</span>
      </p>
    );
  }
  const label = STAGES[progress.stage] ?? progress.stage;
  return (
    <div class="waiting-candidates">
      <p>
        {label}: {progress.done} of {progress.of}
      </p>
      <Progress done={progress.done} of={progress.of} label={label} />
    </div>
  );
}

const countWords = (text) => text.split(/\s+/).filter(Boolean).length;

function Facts({ reply, seed, compact }) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(reply.text);
      announce("Copied.");
    } catch {
      notify("The browser does not allow copying here.", "error");
    }
  };
  const words = countWords(reply.text);
  const candidates = reply.parr?.candidates ?? [];
  const chosen = candidates.find((candidate) => candidate.chosen);
  return (
    <p class="facts">
      {!compact && <span>{reply.model}</span>}
      <span>
        {words} {words === 1 ? "word" : "words"}
      </span>
      {/* With several candidates the tokens of all of them are counted. */}
      {candidates.length <= 1 && reply.usage?.completion_tokens > 0 && <span>{reply.usage.completion_tokens} tokens</span>}
      {reply.seconds > 0 && <span>{reply.seconds.toFixed(1)} s</span>}
      {!compact && <span>seed {chosen?.seed ?? reply.parr?.seed ?? seed}</span>}
      <IconButton label="Copy the reply" icon={Copy} size={15} onClick={copy} />
    </p>
  );
}
