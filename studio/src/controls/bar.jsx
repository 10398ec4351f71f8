// Bars for scores. A score has no unit and no bounds, so a bar is drawn against the largest
// magnitude beside it, from a line at zero.

export function formatScore(score) {
  const hundredths = Math.round(score * 100); // first, so that no score reads as minus zero
  const digits = (Math.abs(hundredths) / 100).toFixed(2);
  return hundredths < 0 ? `\u2212${digits}` : digits;
}

/** The scale of a group of scores: the value that fills half of a bar. */
export const scaleOf = (scores) => Math.max(0.5, ...scores.map(Math.abs));

export function Bar({ score, scale, strong = false }) {
  const share = (50 * Math.min(1, Math.abs(score) / scale)).toFixed(2);
  const style = score < 0 ? { right: "50%", width: `${share}%` } : { left: "50%", width: `${share}%` };
  return (
    <span class={`bar ${score < 0 ? "bar-negative" : ""} ${strong ? "bar-strong" : ""}`} aria-hidden="true">
      <span class="bar-fill" style={style} />
    </span>
  );
}

/** Two scores of the same principle on one line: before as a ring, after as a dot. */
export function Dumbbell({ before, after, scale }) {
  const place = (score) => 50 + 48 * Math.max(-1, Math.min(1, score / scale));
  const left = place(Math.min(before, after));
  const right = place(Math.max(before, after));
  return (
    <span class="dumbbell" aria-hidden="true">
      <span class={`dumbbell-line ${after < before ? "dumbbell-falls" : ""}`} style={{ left: `${left}%`, width: `${right - left}%` }} />
      <span class="dumbbell-before" style={{ left: `${place(before)}%` }} />
      <span class="dumbbell-after" style={{ left: `${place(after)}%` }} />
    </span>
  );
}

/** How far something has come. Without `of` the end is unknown. */
export function Progress({ done, of, label }) {
  return <progress class="progress" aria-label={label} {...(of ? { value: done, max: of } : {})} />;
}
