// What has changed since the set was saved, word by word.
import { wordDiff } from "./changes.js";

export const CHANGE_LABELS = {
  added: "added",
  removed: "deleted",
  text: "text",
  turned: "turned",
  negative: "opposite",
  name: "name",
  weight: "weight",
  on: "on",
  off: "off",
  moved: "moved",
};

export function ChangeList({ changes }) {
  return (
    <ul class="changes">
      {changes.map((change) => (
        <li key={`${change.kind} ${change.id}`} class={`change change-${change.kind}`}>
          <span class="change-head">
            <span class="change-name">{change.name}</span>
            <span class="tag">{CHANGE_LABELS[change.kind]}</span>
          </span>
          <ChangeBody change={change} />
        </li>
      ))}
    </ul>
  );
}

export function ChangeBody({ change: { kind, from, to } }) {
  switch (kind) {
    case "added":
      return <ins>{to}</ins>;
    case "removed":
      return <del>{from}</del>;
    case "turned":
      return (
        <span class="change-text">
          <del>{from}</del>
          <ins>{to}</ins>
        </span>
      );
    case "text":
    case "negative":
    case "name":
      return <WordDiff from={from} to={to} />;
    case "weight":
      return (
        <span class="change-text">
          <del>{from}</del>
          <ins>{to}</ins>
        </span>
      );
    case "moved":
      return (
        <span class="change-text">
          from place {from + 1} to {to + 1}
        </span>
      );
    default:
      return null;
  }
}

function WordDiff({ from, to }) {
  return (
    <span class="change-text">
      {wordDiff(from, to).map(({ kind, text }, index) => {
        if (kind === "added") return <ins key={index}>{text}</ins>;
        if (kind === "removed") return <del key={index}>{text}</del>;
        return <span key={index}>{text}</span>;
      })}
    </span>
  );
}
