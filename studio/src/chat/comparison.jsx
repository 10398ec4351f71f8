// The same question before and after an edit of the principles. Above, each principle with its edit
// and what it did to the scores; below, the two replies side by side.
import { Dumbbell, formatScore, scaleOf } from "../controls/bar.jsx";
import { CHANGE_LABELS, ChangeBody } from "../principles/change-list.jsx";
import { isOpen, keepReply } from "./conversation.js";
import { Reply } from "./reply.jsx";

export function Comparison({ exchange }) {
  const { id, replies, comparison, kept, seed } = exchange;
  return (
    <div class="comparison">
      <Effects comparison={comparison} />
      <div class="comparison-sides">
        {["before", "after"].map((side) => (
          <Side key={side} side={side} reply={replies[side]} kept={kept === side} seed={seed} onKeep={() => keepReply(id, side)} group={id} />
        ))}
      </div>
    </div>
  );
}

/** One row for each principle that is on, then one for each that the edit has taken away. */
function rowsOf({ principles, changes, before }) {
  const edits = before === "none" ? [] : changes; // against nothing, every principle would be "added"
  const rows = principles.map((principle) => ({ ...principle, changes: edits.filter((change) => change.id === principle.id) }));
  const on = new Set(principles.map((principle) => principle.id));
  for (const change of edits) {
    if (!on.has(change.id)) rows.push({ id: change.id, name: change.name, definition: "", changes: [change] });
  }
  return rows;
}

function Effects({ comparison }) {
  const { scores, changes, before } = comparison;
  const rows = rowsOf(comparison);
  const scoreById = new Map(scores?.rows?.map((row) => [row.id, row]));
  const scale = scaleOf([...scoreById.values()].flatMap((row) => [row.before, row.after]));
  if (rows.length === 0) return <p class="comparison-note">No principle is on. Both sides are the plain model.</p>;
  return (
    <section class="effects" aria-label="Principles and their effect">
      <header class="effects-head">
        <h3 class="eyebrow">{before === "none" ? "The principles" : "What you edited"}, and what it did</h3>
        {scores && (
          <span class="legend">
            <span class="legend-before">before</span>
            <span class="legend-after">after</span>
          </span>
        )}
      </header>
      {changes.length === 0 && before === "saved" && <p class="hint">Nothing was edited: both sides follow the same set.</p>}
      <ul class="effect-rows">
        {rows.map((row) => (
          <Effect key={row.id} row={row} score={scoreById.get(row.id)} scale={scale} isScored={scores !== null} />
        ))}
      </ul>
      <p class="hint">{noteOn(scores)}</p>
    </section>
  );
}

function noteOn(scores) {
  if (scores?.status === "scoring") return "Scoring both replies.";
  if (scores?.status === "failed") return `Not scored. ${scores.error}`;
  if (scores?.status === "done") return `Scores by ${scores.reward}. They have no unit; only differences count.`;
  return "";
}

function Effect({ row, score, scale, isScored }) {
  const { name, definition, changes } = row;
  return (
    <li class={`effect ${changes.length > 0 ? "effect-edited" : ""}`}>
      <div class="effect-what">
        <span class="change-name">{name}</span>
        {changes.length === 0 && <span class="effect-definition">{definition}</span>}
        {changes.map((change) => (
          <span key={change.kind} class={`effect-change change-${change.kind}`}>
            {change.kind !== "text" && <span class="tag">{CHANGE_LABELS[change.kind]}</span>} <ChangeBody change={change} />
          </span>
        ))}
      </div>
      {isScored && <div class="effect-score">{score && <ScoreChange {...score} scale={scale} />}</div>}
    </li>
  );
}

function ScoreChange({ before, after, scale }) {
  const difference = after - before;
  return (
    <>
      <Dumbbell before={before} after={after} scale={scale} />
      <span class="hidden">
        before {formatScore(before)}, after {formatScore(after)}, difference
      </span>
      <span class={`number score-difference ${difference > 0.005 ? "score-rises" : ""}`} title={`${formatScore(before)} before, ${formatScore(after)} after`}>
        {difference > 0 ? "+" : ""}
        {formatScore(difference)}
      </span>
    </>
  );
}

const TITLES = { before: "Before", after: "After" };

function Side({ side, reply, kept, seed, onKeep, group }) {
  return (
    <section class={`side side-${side} ${kept ? "side-kept" : ""}`} aria-label={TITLES[side]}>
      <header class="side-head">
        <h3>{TITLES[side]}</h3>
        <span class="side-under">{reply.under}</span>
      </header>
      <Reply reply={reply} seed={seed} compact />
      {!isOpen(reply) && reply.text && (
        <label class="side-keep">
          <input type="radio" name={`kept-${group}`} checked={kept} onChange={onKeep} />
          <span>{kept ? "The chat goes on from here" : "Go on from here"}</span>
        </label>
      )}
    </section>
  );
}
