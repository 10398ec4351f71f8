// The candidates of best of n: their scores, and a bar for each principle.
import { useState } from "preact/hooks";
import { Bar, formatScore, scaleOf } from "../controls/bar.jsx";
import { Right, Tick } from "../controls/icons.jsx";

/** The candidates of a reply that a reward model has scored. */
export const scoredCandidates = (parr) => (parr?.candidates ?? []).filter((candidate) => Number.isFinite(candidate.score));

export function Candidates({ candidates, principles, compact }) {
  const [open, setOpen] = useState(false);
  const ranked = [...candidates].sort((a, b) => b.score - a.score);
  const chosen = candidates.find((candidate) => candidate.chosen) ?? ranked[0];
  const scale = scaleOf(candidates.flatMap((candidate) => candidate.by_principle ?? []));
  const others = candidates.length > 1;
  return (
    <section class={`candidates ${compact ? "candidates-compact" : ""}`} aria-label="Scores">
      <div class="candidates-head">
        <span class="candidates-title">{others ? `Best of ${candidates.length}` : "Score"}</span>
        {others && <Spread candidates={ranked} chosen={chosen} />}
        <span class="candidates-score">{formatScore(chosen.score)}</span>
      </div>
      {!compact && <PrincipleBars principles={principles} scores={chosen.by_principle} scale={scale} strong />}
      {others && (
        <>
          <button type="button" class="disclosure" aria-expanded={open} onClick={() => setOpen(!open)}>
            <Right size={14} /> {open ? "Hide the candidates" : `Compare all ${candidates.length} candidates`}
          </button>
          {open && (
            <ol class="candidate-list">
              {ranked.map((candidate, index) => (
                <Candidate key={index} candidate={candidate} principles={principles} scale={scale} />
              ))}
            </ol>
          )}
        </>
      )}
    </section>
  );
}

/** Every candidate's score as a tick on one line, so that the margin of the choice is seen. */
function Spread({ candidates, chosen }) {
  const scores = candidates.map((candidate) => candidate.score);
  const low = Math.min(...scores);
  const range = Math.max(...scores) - low || 1;
  return (
    <span class="spread" aria-hidden="true">
      {candidates.map((candidate, index) => (
        <i key={index} class={candidate === chosen ? "spread-chosen" : ""} style={{ left: `${((candidate.score - low) / range) * 100}%` }} />
      ))}
    </span>
  );
}

export function PrincipleBars({ principles, scores, scale, strong = false }) {
  if (!scores?.length) return null;
  return (
    <dl class="principle-bars">
      {scores.map((score, index) => (
        <div key={index}>
          <dt title={principles[index]?.definition}>{principles[index]?.name ?? `Principle ${index + 1}`}</dt>
          <dd>
            <Bar score={score} scale={scale} strong={strong} />
            <span class="number">{formatScore(score)}</span>
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Candidate({ candidate, principles, scale }) {
  const [whole, setWhole] = useState(false);
  const long = candidate.text.length > 180;
  return (
    <li class={`candidate ${candidate.chosen ? "candidate-chosen" : ""}`}>
      <div class="candidate-head">
        <span class="number candidate-score">{formatScore(candidate.score)}</span>
        {candidate.chosen && (
          <span class="tag tag-accent">
            <Tick size={13} /> chosen
          </span>
        )}
        <span class="candidate-seed">seed {candidate.seed}</span>
      </div>
      <p class={whole ? "" : "clamped"}>{candidate.text}</p>
      {long && (
        <button type="button" class="disclosure" aria-expanded={whole} onClick={() => setWhole(!whole)}>
          <Right size={14} /> {whole ? "Less" : "Whole text"}
        </button>
      )}
      <PrincipleBars principles={principles} scores={candidate.by_principle} scale={scale} strong={candidate.chosen} />
    </li>
  );
}
