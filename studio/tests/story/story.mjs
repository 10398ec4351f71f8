// The whole story in a browser, against the real server with SmolLM2: edit, compare, save, align, chat.
//
//   npm run story -- PARR [--shots FOLDER] [--steps 3] [--pictures FOLDER]
//
// Takes a screenshot at each step. With --pictures it also writes those of the README.
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import path from "node:path";
import assert from "node:assert/strict";
import { assertAccessible, launch, openStudio, settled, SHOTS, SIZES, textOf } from "../studio.mjs";
import { startServer } from "./server.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    shots: { type: "string", default: path.join(SHOTS, "story") },
    steps: { type: "string", default: "3" },
    pictures: { type: "string" },
  },
});
if (positionals.length !== 1) {
  console.error("usage: npm run story -- PARR [--shots FOLDER] [--steps N] [--pictures FOLDER]");
  process.exit(2);
}
const [parr] = positionals;
const steps = Number(values.steps);

/** A reply takes seconds on a software driver, a step of a run up to a minute. */
const REPLY_MS = 120_000;
const STEP_MS = 180_000;

const QUESTION = "Name three animals that live in the sea.";
const EDIT = "Answer in plain running text, without a list.";
const SET = "my-small";
const RUN = "first";
/** A test needs only points; a curve that rises needs more replies. */
const RUN_SETTINGS = values.pictures ? {} : { rollout: { replies: 2 } };

await rm(values.shots, { recursive: true, force: true });
await mkdir(values.shots, { recursive: true });
const begun = performance.now();
let server;
let studio;
let number = 0;

const secondsSince = (start) => `${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s`;
const nameOf = (what) => `${String(number).padStart(2, "0")}-${what.replaceAll(/[^a-z0-9]+/g, "-")}.png`;

/** One step of the story. It ends with a screenshot, and fails if the page has complained. */
async function step(what, act, { allowed = [] } = {}) {
  const start = performance.now();
  number += 1;
  await act(studio?.page);
  if (studio) {
    await studio.page.screenshot({ path: path.join(values.shots, nameOf(what)) });
    const complaints = studio.complaints.splice(0).filter((text) => !allowed.some((pattern) => pattern.test(text)));
    assert.deepEqual(complaints, []);
  }
  console.log(`${secondsSince(start)}  ${what}`);
}

/** A picture for the README, which shows it smaller than a screen: the chat with one other pane. */
async function picture(name, pane) {
  if (!values.pictures) return;
  const { page } = studio;
  await page.setViewportSize({ width: 1080, height: 800 });
  await page.getByRole("tab", { name: pane }).click();
  await page.mouse.move(0, 0);
  // The charts take their new width in the next frame.
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  await page.screenshot({ path: path.join(values.pictures, `studio-${name}.png`) });
  await page.setViewportSize(SIZES.wide);
}

const button = (page, name) => page.getByRole("button", { name, exact: true });
const send = async (page) => {
  await page.getByRole("textbox", { name: "Message" }).fill(QUESTION);
  await button(page, "Send").click();
  await page.locator(".exchange").waitFor();
};
/** Closes the short messages, which else go after six seconds. */
const closeNotices = async (page) => {
  const close = page.locator(".notice").getByRole("button", { name: "Close" });
  while ((await close.count()) > 0) await close.first().click({ timeout: 1000 }).catch(() => {}); // one may have gone just now
};
/** The text of a reply, once it is complete. It fails with the error that the page shows instead. */
async function replyIn(page, place) {
  await settled(page);
  assert.deepEqual(await place.getByRole("alert").allInnerTexts(), []);
  const text = await place.locator(".markdown").innerText();
  assert.ok(text.trim().length > 0, "the reply is empty");
  return text;
}

try {
  const browser = await launch();
  await step("start the server", async () => (server = await startServer(parr)));

  await step("open", async () => {
    studio = await openStudio(browser, server.origin);
    studio.page.setDefaultTimeout(REPLY_MS);
    await textOf(studio.page, "Listed").waitFor(); // the shipped set `small`: there is no file yet
    await studio.page.getByText("Runs appear here").waitFor();
  });

  await step("settings", async (page) => {
    await page.getByRole("button", { name: /temperature/ }).click();
    await page.getByRole("slider", { name: "Temperature" }).fill("0.5");
    await page.getByRole("spinbutton", { name: "Best of" }).fill("4");
    await page.getByRole("spinbutton", { name: "Max tokens" }).fill("48");
    await page.getByRole("spinbutton", { name: "Seed" }).fill("7");
    await page.getByRole("combobox", { name: "Tell the principles" }).selectOption("user");
    await button(page, "Close the settings").click();
    await page.getByText("best of 4, temperature 0.5, seed 7").waitFor();
  });

  const scores = () => studio.page.getByRole("region", { name: "Scores" });
  await step("best of 4 begins", async (page) => {
    await send(page);
    await page.getByText(/(Writing|Scoring) candidates: \d of 4/).or(scores()).first().waitFor();
  });

  await step("best of 4", async (page) => {
    await replyIn(page, page.locator(".exchange"));
    await scores().getByRole("button", { name: "Compare all 4 candidates" }).click();
    const values = (await scores().locator(".candidate-score").allInnerTexts()).map((text) => Number(text.replace("\u2212", "-")));
    assert.deepEqual(values, [...values].sort((a, b) => b - a));
    assert.equal(values.length, 4);
    assert.match(await scores().locator(".candidate-chosen").innerText(), /chosen/);
    for (const candidate of await scores().locator(".candidate").all()) assert.equal(await candidate.locator(".bar").count(), 4);
    assert.equal(await scores().getByText(/^seed \d+$/).count(), 4);
  });

  const file = () => path.join(server.folders.principles, `${SET}.toml`);
  const isOn = (name) => studio.page.getByRole("switch", { name: `${name} is on` });
  await step("save under a new name", async (page) => {
    for (const name of ["Greeting", "Lively"]) await isOn(name).uncheck();
    await button(page, "Save as\u2026").click();
    const dialog = page.getByRole("dialog", { name: "Save as a new set" });
    assert.equal(await dialog.getByRole("textbox", { name: "Name" }).inputValue(), SET);
    await dialog.getByRole("button", { name: "Save" }).click();
    await page.getByText(`Saved as ${SET}.`).waitFor();
    assert.match(await readFile(file(), "utf8"), /^#off .*Say hello/m);
  });

  await step("edit a principle", async (page) => {
    await textOf(page, "Listed").fill(EDIT);
    await button(page, "Changes 1").waitFor();
    await button(page, "New chat").click();
    await page.getByRole("switch", { name: "Before / after" }).check();
    await page.getByText("your edits", { exact: true }).waitFor();
    await closeNotices(page);
  });

  await step("before and after", async (page) => {
    await send(page);
    const [before, after] = [await replyIn(page, page.locator(".side-before")), await replyIn(page, page.locator(".side-after"))];
    assert.notEqual(before, after);
    const effects = page.getByRole("region", { name: "Principles and their effect" });
    await effects.getByText("Scores by smollm2-principles").waitFor();
    assert.equal(await effects.locator(".effect-edited").count(), 1);
    const differences = await effects.locator(".score-difference").allInnerTexts();
    assert.equal(differences.length, 2);
    for (const difference of differences) assert.match(difference, /^[+\u2212]?\d+\.\d\d$/);
    await assertAccessible(page, "a comparison");
    await picture("chat", "Principles");
  });

  await step("save", async (page) => {
    await button(page, "Save").click();
    await page.getByText(`Saved ${SET}.`).waitFor();
    assert.ok((await readFile(file(), "utf8")).includes(EDIT));
    assert.equal(await button(page, "Save").isDisabled(), true);
  });

  const editFile = async (from, to) => {
    const text = await readFile(file(), "utf8");
    assert.ok(text.includes(from), `"${from}" in\n${text}`);
    await writeFile(file(), text.replace(from, to));
  };
  await step("edit the file elsewhere", async (page) => {
    await editFile("a single short sentence", "one short sentence");
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await page.waitForFunction(() => document.querySelector(".card-text").value === "Answer in one short sentence.");
  });

  await step(
    "a conflict",
    async (page) => {
      await isOn("Lively").check();
      await editFile("one short sentence", "a single short sentence");
      await button(page, "Save").click();
      await page.getByRole("dialog", { name: "The file has changed" }).getByRole("button", { name: "Reload the file" }).click();
      await page.getByText("Loaded the file.").waitFor();
      assert.equal(await textOf(page, "Brief").inputValue(), "Answer in a single short sentence.");
      assert.equal(await isOn("Lively").isChecked(), false);
      await isOn("Lively").check();
      await closeNotices(page);
      await button(page, "Save").click();
      await page.getByText(`Saved ${SET}.`).waitFor();
      assert.doesNotMatch(await readFile(file(), "utf8"), /^#off .*exclamation/m);
    },
    { allowed: [/409/] },
  );

  await step("choose what to train", async (page) => {
    for (const name of ["Brief", "Lively"]) await isOn(name).uncheck();
    await textOf(page, "Listed").fill("Answer with a numbered list.");
    await page.getByText("1 principle", { exact: true }).waitFor();
  });

  const reward = (number) => studio.page.getByRole("img", { name: new RegExp(`^Reward: .* at step ${number}$`) });
  await step("start an alignment", async (page) => {
    await page.getByText("Advanced").click();
    await page.getByRole("textbox", { name: "Name", exact: true }).last().fill(RUN);
    await page.getByRole("spinbutton", { name: "Steps" }).fill(String(steps));
    await page.getByRole("textbox", { name: "Settings" }).fill(JSON.stringify(RUN_SETTINGS));
    await button(page, "Start alignment").click();
    await page.locator(".run-status").getByText("running", { exact: true }).waitFor();
    await page.getByText("Advanced").click();
  });

  await step("the first step", () => reward(1).waitFor({ timeout: STEP_MS }));

  const status = (text) => studio.page.locator(".run-status").getByText(text, { exact: true });
  await step("pause and resume", async (page) => {
    await button(page, "Pause").click();
    await status("paused").waitFor();
    await button(page, "Resume").click();
    await status("running").waitFor();
  });

  await step("the second step", () => reward(2).waitFor({ timeout: STEP_MS }));

  await step("the last step", async (page) => {
    await page.getByText(`${RUN} is done. Its adapter is in the model menu.`).waitFor({ timeout: STEP_MS * steps });
    await reward(steps).waitFor();
    assert.equal(await page.locator(".curve canvas").count(), 4);
    assert.match(await page.locator(".run-facts").innerText(), new RegExp(`^alignment, step ${steps} of ${steps}, `));
    assert.ok((await page.locator(".sample").count()) > 0);
    await assertAccessible(page, "a finished run");
  });

  await step("chat with the adapter", async (page) => {
    await button(page, "Chat with it").click();
    assert.equal(await page.getByRole("combobox", { name: "Model" }).inputValue(), `smollm2:${RUN}`);
    await page.getByRole("switch", { name: "Before / after" }).uncheck();
    await button(page, "New chat").click();
    await send(page);
    await replyIn(page, page.locator(".exchange"));
    await scores().waitFor();
    await closeNotices(page);
    await picture("run", "Runs");
  });

  await step("reload the page", async (page) => {
    const before = await page.locator(".markdown").innerText();
    const checked = page.waitForResponse(/principles\/check$/); // the last request of a page that opens
    await page.reload();
    assert.equal(await page.locator(".markdown").innerText(), before);
    assert.equal(await page.getByRole("combobox", { name: "Model" }).inputValue(), `smollm2:${RUN}`);
    assert.equal(await page.getByRole("combobox", { name: "Set of principles" }).inputValue(), SET);
    await page.getByRole("button", { name: new RegExp(`^${RUN}`) }).click();
    await reward(steps).waitFor(); // the server remembers the curve
    assert.equal(await page.locator(".notice").count(), 0);
    await checked;
  });

  // The page stays open: an idle connection must not hold the server up.
  await step("stop the server", () => server.stop());
  await browser.close();
  console.log(`${secondsSince(begun)}  in all; screenshots are in ${path.relative(process.cwd(), values.shots)}`);
} catch (error) {
  console.error(`step ${number} failed: ${error.stack}`);
  if (studio?.complaints.length > 0) console.error(`the page complained:\n${studio.complaints.join("\n")}`);
  await studio?.page.screenshot({ path: path.join(values.shots, "failed.png") }).catch(() => {});
  if (server) console.error(`the server's log ends with\n${server.tail()}`);
  process.exit(1); // the browser and the server end too
}
