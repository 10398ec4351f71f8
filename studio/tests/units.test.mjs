// The parts without a page.
import test from "node:test";
import assert from "node:assert/strict";
import { readEvents } from "../src/api/events.js";
import { changesBetween, wordDiff } from "../src/principles/changes.js";
import { History } from "../src/principles/history.js";

async function eventsOf(...chunks) {
  const body = new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk));
      controller.close();
    },
  });
  const events = [];
  for await (const event of readEvents({ body })) events.push(event);
  return events;
}

test("server-sent events: fields, comments, several data lines, the id stays", async () => {
  const events = await eventsOf("id: 7\nevent: step\ndata: a\ndata:b\n\n: alive\n\ndata: c\n\n");
  assert.deepEqual(events, [
    { event: "step", data: "a\nb", id: "7" },
    { event: "message", data: "c", id: "7" },
  ]);
});

test("server-sent events: cut anywhere, all line ends, the unfinished event is dropped", async () => {
  const text = "data: ein\r\n\r\ndata: zwei\n\ndata: drei\r\rdata: vi";
  for (let cut = 0; cut < text.length; cut += 1) {
    const events = await eventsOf(text.slice(0, cut), text.slice(cut));
    assert.deepEqual(events.map((event) => event.data), ["ein", "zwei", "drei"], `cut at ${cut}`);
  }
});

test("server-sent events: a character cut in two", async () => {
  const bytes = new TextEncoder().encode("data: Größe\n\n");
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(bytes.slice(0, 9));
      controller.enqueue(bytes.slice(9));
      controller.close();
    },
  });
  for await (const { data } of readEvents({ body })) assert.equal(data, "Größe");
});

const principle = (id, fields = {}) => ({ id, name: id, definition: `Do ${id}.`, negative: `Avoid ${id}.`, weight: 1, on: true, turned: false, ...fields });

test("changes: text, weight, on, turned, added, removed, moved", () => {
  const before = [principle("a"), principle("b"), principle("c"), principle("d")];
  const after = [principle("d"), principle("a", { weight: 2, on: false }), principle("b", { turned: true }), principle("e")];
  const kinds = changesBetween(before, after).map(({ id, kind }) => `${id} ${kind}`);
  assert.deepEqual(kinds, ["d moved", "a weight", "a off", "b turned", "e added", "c removed"]);
  assert.deepEqual(changesBetween(before, before), []);
});

test("a word diff can be read back on both sides", () => {
  const from = "Write at length, with all the details that matter.";
  const to = "Write briefly, with the details that matter most.";
  const runs = wordDiff(from, to);
  const side = (dropped) => runs.filter((run) => run.kind !== dropped).map((run) => run.text).join("");
  assert.equal(side("added"), from);
  assert.equal(side("removed"), to);
  assert.ok(runs.some((run) => run.kind === "same"));
  const unlike = wordDiff("Write at length about it.", "Keep it short, please, always.");
  assert.deepEqual(unlike.map((run) => run.kind), ["removed", "added"]);
});

test("history: letters of one word are one step, and redo is lost by an edit", () => {
  const history = new History();
  let value = "";
  const edit = (next, tag, now) => {
    history.record(value, tag, now);
    value = next;
  };
  edit("a", "text", 0);
  edit("ab", "text", 100);
  edit("ab!", "text", 9000);
  value = history.undo(value);
  assert.equal(value, "ab");
  value = history.undo(value);
  assert.equal(value, "");
  assert.equal(history.canUndo, false);
  value = history.redo(value);
  assert.equal(value, "ab");
  edit("x", "text", 9100);
  assert.equal(history.canRedo, false);
});
