// The mock server's sets of principles, held in memory.
import { createHash } from "node:crypto";
import { parse, stringify } from "smol-toml";

const principle = (set, key, name, definition, negative, weight = 1) => ({ id: `${set}-${key}`, name, definition, negative, weight, on: true });

export function initialSets() {
  return new Map(
    [
      {
        name: "mine",
        source: "file",
        title: "My principles",
        description: "For a first look.",
        principles: [
          principle("mine", "plain", "Plain words", "Use plain words, and explain the term if one is needed.", "Use the terms of the field without explaining them."),
          principle("mine", "honest", "Honest", "Say what you do not know, instead of guessing.", null, 2),
          principle("mine", "long", "Thorough", "Write at length, with all the details that could matter.", "Keep the reply short: a sentence or two."),
        ],
      },
      {
        name: "small",
        source: "shipped",
        title: "Four principles for a first run",
        description: "Visible qualities.",
        principles: [
          principle("small", "brief", "Brief", "Answer in a single short sentence.", "Answer in several long and detailed sentences."),
          principle("small", "listed", "Listed", "Answer with a list: every point on its own line, behind a dash.", "Answer in running text, without a list of any kind."),
          principle("small", "greeting", "Greeting", "Say hello to the user first, and then answer.", "Answer at once, without saying hello to anyone."),
          principle("small", "lively", "Lively", "Sound excited about the subject, with exclamation marks!", "Sound calm and matter-of-fact, without exclamation marks."),
        ],
      },
      {
        name: "style",
        source: "shipped",
        title: "Qualities that a program can check",
        description: "Many.",
        principles: Array.from({ length: 12 }, (_, i) => principle("style", `n${i + 1}`, `Quality ${i + 1}`, `Give the reply quality number ${i + 1}.`, `Keep quality number ${i + 1} out of the reply.`)),
      },
    ].map((set) => [set.name, set]),
  );
}

export const hashOf = (set) => createHash("sha256").update(JSON.stringify(set.principles)).digest("hex").slice(0, 16);

export const textOf = (principles) => stringify({ principle: principles.map(({ negative, ...rest }) => (negative === null ? rest : { ...rest, negative })) });

export const entryOf = (set) => ({ ...set, text: textOf(set.principles), hash: hashOf(set) });

/** Reads TOML or plain sentences, one a line. */
export function readText(text) {
  if (!/^\s*\[\[principle\]\]/m.test(text)) {
    const lines = text.split("\n").filter((line) => line.trim() !== "");
    return lines.map((definition, i) => ({ id: `mine-${i + 1}`, name: `Principle ${i + 1}`, definition, negative: null, weight: 1, on: true }));
  }
  return (parse(text).principle ?? []).map((p) => ({ negative: null, weight: 1, on: true, ...p }));
}

/** Replies follow at most this many. */
const MOST_READ = 8;

export function check(principles) {
  const mistakes = [];
  const add = (index, message, severity = "error") => mistakes.push({ line: index === null ? 1 : index * 7 + 1, column: 1, index, message, severity });
  principles.forEach(({ definition, name, weight, id }, index) => {
    if (!definition?.trim()) add(index, "the text is empty: say in one sentence what a good reply does");
    if (definition?.length > 300) add(index, `the text has ${definition.length} characters; at most 300 are read`);
    if (!name?.trim()) add(index, "the name is empty");
    if (!(weight > 0)) add(index, "the weight must be larger than 0");
    if (principles.findIndex((p) => p.id === id) < index) add(index, `the id "${id}" occurs twice`);
    if (/\bnot\b.*\bnot\b/.test(definition)) add(index, "two negations in one sentence are often misread", "warning");
  });
  const on = principles.filter((p) => p.on).length;
  if (on === 0 && principles.length > 0) add(null, "every principle is switched off");
  if (on > MOST_READ) add(null, `${on} principles are on; replies follow the ${MOST_READ} with the largest weights`, "warning");
  return { ok: !mistakes.some((m) => m.severity === "error"), mistakes, principles, text: textOf(principles) };
}
