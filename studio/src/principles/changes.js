// The difference between two versions of a set, for the list of changes and for before/after.

/** A principle as the server knows it. One that is turned asks for its negative. */
export function toWire(principle) {
  const { id, name, definition, negative, weight, on, turned } = principle;
  return turned
    ? { id, name, definition: negative, negative: definition, weight, on }
    : { id, name, definition, negative, weight, on };
}

/** The text that the principle asks for now. */
export const askedText = (principle) => (principle.turned ? principle.negative : principle.definition);

export const isTurnable = (principle) => Boolean(principle.negative);

export const sameSet = (a, b) => JSON.stringify(a.map(toWire)) === JSON.stringify(b.map(toWire));

/**
 * Lists what must be done to `before` to get `after`. Each change is
 * `{ kind, id, name, from, to }`, in the order of `after`, with removals last.
 */
export function changesBetween(before, after) {
  const old = new Map(before.map((principle) => [principle.id, principle]));
  const kept = new Set(after.map((principle) => principle.id));
  const moved = movedIds(before, after);
  const changes = [];
  for (const principle of after) {
    const { id, name } = principle;
    const was = old.get(id);
    if (!was) {
      changes.push({ kind: "added", id, name, from: null, to: askedText(principle) });
      continue;
    }
    if (was.name !== name) changes.push({ kind: "name", id, name, from: was.name, to: name });
    if (askedText(was) !== askedText(principle)) {
      const kind = Boolean(was.turned) !== Boolean(principle.turned) ? "turned" : "text";
      changes.push({ kind, id, name, from: askedText(was), to: askedText(principle) });
    } else if (toWire(was).negative !== toWire(principle).negative) {
      changes.push({ kind: "negative", id, name, from: toWire(was).negative ?? "", to: toWire(principle).negative ?? "" });
    }
    if (was.weight !== principle.weight) changes.push({ kind: "weight", id, name, from: was.weight, to: principle.weight });
    if (was.on !== principle.on) changes.push({ kind: principle.on ? "on" : "off", id, name, from: was.on, to: principle.on });
    if (moved.has(id)) changes.push({ kind: "moved", id, name, from: indexOf(before, id), to: indexOf(after, id) });
  }
  for (const { id, name, ...principle } of before) {
    if (!kept.has(id)) changes.push({ kind: "removed", id, name, from: askedText(principle), to: null });
  }
  return changes;
}

const indexOf = (principles, id) => principles.findIndex((principle) => principle.id === id);

/** The fewest principles that must move: those outside a longest common subsequence. */
function movedIds(before, after) {
  const common = new Set(after.map((p) => p.id));
  const a = before.map((p) => p.id).filter((id) => common.has(id));
  const b = after.map((p) => p.id).filter((id) => a.includes(id));
  const inPlace = new Set(commonSubsequence(a, b).map(([i]) => a[i]));
  return new Set(b.filter((id) => !inPlace.has(id)));
}

/** Below this share of common words a diff is a patchwork that nobody can read. */
const LEAST_IN_COMMON = 0.4;

/** Splits both texts into words and marks each run as "same", "removed" or "added". */
export function wordDiff(from, to) {
  const a = from.match(/\s*\S+/g) ?? [];
  const b = to.match(/\s*\S+/g) ?? [];
  const key = (word) => word.trim();
  const common = commonSubsequence(a.map(key), b.map(key));
  const pairs = common.length < LEAST_IN_COMMON * Math.max(a.length, b.length) ? [] : common;
  const runs = [];
  const push = (kind, text) => {
    const last = runs.at(-1);
    if (last?.kind === kind) last.text += text;
    else if (text) runs.push({ kind, text });
  };
  let i = 0;
  let j = 0;
  for (const [nextI, nextJ] of [...pairs, [a.length, b.length]]) {
    push("removed", a.slice(i, nextI).join(""));
    push("added", b.slice(j, nextJ).join(""));
    if (nextJ < b.length) push("same", b[nextJ]);
    i = nextI + 1;
    j = nextJ + 1;
  }
  return runs;
}

/** Index pairs of a longest common subsequence, by the usual table. Inputs are short. */
function commonSubsequence(a, b) {
  const table = Array.from({ length: a.length + 1 }, () => new Array(b.length + 1).fill(0));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    }
  }
  const pairs = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) pairs.push([i++, j++]);
    else if (table[i + 1][j] >= table[i][j + 1]) i += 1;
    else j += 1;
  }
  return pairs;
}
