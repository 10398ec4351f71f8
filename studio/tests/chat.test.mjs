import test, { after, before } from "node:test";
import assert from "node:assert/strict";
import { ask, card, launch, settled, textOf, withStudio } from "./studio.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

const chatRequests = (mock) => mock.state.requests.filter((request) => request.path.endsWith("/completions")).map((request) => request.body);
const message = (page) => page.getByRole("textbox", { name: "Message" });
const button = (page, name) => page.getByRole("button", { name, exact: true });

test("a reply comes in pieces, and can be stopped and written again", () =>
  withStudio(browser, { mock: { delayMs: 40 } }, async ({ page, mock }) => {
    await message(page).fill("Why is the sky blue?");
    await message(page).press("Enter");
    await page.getByText("The sky looks").waitFor();
    await button(page, "Stop").click();
    await page.getByText("Stopped.").waitFor();
    const stopped = await page.locator(".markdown").innerText();
    assert.ok(stopped.length < 200, "the rest was not read");
    assert.equal(await button(page, "Send").isVisible(), true);

    await button(page, "Regenerate").click();
    await page.getByText("Stopped.").waitFor({ state: "detached" });
    await page.keyboard.press("Escape");
    await page.getByText("Stopped.").waitFor();
    const [first, second] = chatRequests(mock);
    assert.notEqual(first.seed, second.seed, "another seed each time");
    assert.equal(second.messages.length, 1);
    assert.equal(second.principles, "mine");
    assert.equal(second.tell, "system");
  }));

test("later questions carry the conversation, and an edit cuts it", () =>
  withStudio(browser, {}, async ({ page, mock }) => {
    for (const question of ["Why is the sky blue?", "Name three rivers.", "How do I start running?"]) await ask(page, question);
    assert.equal(chatRequests(mock)[2].messages.length, 5);
    await page.getByText("Name three rivers.").hover();
    await page.getByRole("button", { name: "Edit the question" }).nth(1).click();
    const editor = page.getByRole("textbox", { name: "Question" });
    await editor.fill("Name four rivers.");
    await editor.press("Enter");
    await settled(page);
    assert.equal(await page.locator(".exchange").count(), 2);
    const last = chatRequests(mock)[3];
    assert.deepEqual([last.messages.length, last.messages[2].content], [3, "Name four rivers."]);
  }));

test("Markdown is drawn, HTML and foreign addresses are not", () =>
  withStudio(browser, {}, async ({ page }) => {
    await ask(page, "Show me Markdown.");
    const reply = page.locator(".markdown");
    assert.equal(await reply.getByRole("heading", { name: "A heading" }).count(), 1);
    assert.equal(await reply.getByRole("table").count(), 1);
    assert.equal(await reply.getByRole("link", { name: "link" }).getAttribute("rel"), "noopener noreferrer");
    assert.equal(await reply.locator("script, img, [href^='javascript']").count(), 0);
    assert.match(await reply.innerText(), /<script>alert\(1\)<\/script>.*bad & more/s);
  }));

test("reasoning is folded away once the reply begins", () =>
  withStudio(browser, {}, async ({ page }) => {
    await ask(page, "Think: why is the sky blue?");
    const reasoning = page.locator("details.reasoning");
    assert.equal(await reasoning.evaluate((details) => details.open), false);
    await page.getByText("Reasoning", { exact: true }).click();
    await page.getByText("I weigh the sides").waitFor();
  }));

test("best of n: progress, scores, and a bar for each principle", () =>
  withStudio(browser, { mock: { delayMs: 10 } }, async ({ page, mock }) => {
    await page.getByRole("button", { name: /temperature/ }).click();
    await page.getByRole("spinbutton", { name: "Best of" }).fill("4");
    await page.getByRole("spinbutton", { name: "Seed" }).fill("7");
    await page.getByRole("combobox", { name: "Tell the principles" }).selectOption("user");
    await button(page, "Close the settings").click();
    await page.evaluate(() => {
      globalThis.stages = new Set();
      const note = () => globalThis.stages.add(document.querySelector(".waiting-candidates p")?.textContent);
      new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
    });
    await ask(page, "Why is the sky blue?");
    const stages = await page.evaluate(() => [...globalThis.stages]);
    // The server reports what is done, so both stages begin without a report.
    assert.ok(stages.includes("Writing candidates: 0 of 4") && stages.includes("Scoring candidates: 0 of 4"), `${stages}`);
    const scores = page.getByRole("region", { name: "Scores" });
    assert.equal(await scores.locator(".principle-bars > div").count(), 3);
    await scores.getByRole("button", { name: "Compare all 4 candidates" }).click();
    assert.equal(await scores.locator(".candidate").count(), 4);
    assert.equal(await scores.locator(".candidate-chosen").count(), 1);
    const values = await scores.locator(".candidate-score").allInnerTexts();
    const numbers = values.map((value) => Number(value.replace("\u2212", "-")));
    assert.deepEqual(numbers, [...numbers].sort((a, b) => b - a));
    assert.equal(await scores.locator(".candidate").first().locator(".bar").count(), 3);
    assert.equal(await scores.getByText(/^seed 1777777777777777777\d$/).count(), 3, "seeds of 64 bits are exact");
    const [body] = chatRequests(mock);
    assert.deepEqual([body.best_of, body.seed, body.tell, body.parr_progress], [4, 7, "user", true]);
  }));

test("a server without a reward model: no best of n, no scores", () =>
  withStudio(browser, { mock: { reward: null } }, async ({ page, mock }) => {
    await page.evaluate(() => localStorage.setItem("parr-studio-settings", JSON.stringify({ version: 1, value: { bestOf: 4, reward: "gone" } })));
    const other = await page.context().newPage();
    await other.goto(page.url());
    await other.getByRole("button", { name: /temperature/ }).click();
    assert.equal(await other.getByRole("spinbutton", { name: "Best of" }).isDisabled(), true);
    await other.getByRole("switch", { name: "Before / after" }).check();
    await other.getByText("Without a reward model the replies are not scored.").waitFor();
    await ask(other, "Why is the sky blue?");
    const [body] = chatRequests(mock);
    assert.deepEqual([body.best_of, body.reward], [1, undefined]);
    assert.equal(await other.getByText("Scores by").count(), 0);
  }));

test("edited principles are sent as text, and none if all are off", () =>
  withStudio(browser, {}, async ({ page, mock }) => {
    await textOf(page, "Thorough").fill("Keep the reply short.");
    await ask(page, "Why is the sky blue?");
    const [edited] = chatRequests(mock);
    assert.match(edited.principles, /\[\[principle\]\][\s\S]*Keep the reply short\./);
    for (const name of ["Plain words", "Honest", "Thorough"]) await page.getByRole("switch", { name: `${name} is on` }).uncheck();
    await ask(page, "Name three rivers.");
    assert.equal(chatRequests(mock)[1].principles, undefined);
  }));

test("a mistake in the set is said before anything is sent", () =>
  withStudio(browser, {}, async ({ page, mock }) => {
    await textOf(page, "Honest").fill("");
    await ask(page, "Why is the sky blue?");
    await page.getByText(/Repair the principles first\. Honest: the text is empty/).waitFor();
    assert.equal(chatRequests(mock).length, 0);
  }));

test("errors are shown where the reply would be, and a busy server is asked again", () =>
  withStudio(browser, { allowed: [/500/, /429/] }, async ({ page, mock }) => {
    mock.state.failNext = "the GPU was lost";
    await ask(page, "Why is the sky blue?");
    await page.getByText("the GPU was lost").waitFor();
    mock.state.busyNext = 1;
    await button(page, "Regenerate").click();
    await settled(page);
    assert.match(await page.locator(".markdown").innerText(), /The sky/);
  }));

test("before and after: one seed, two sets, scores of both", () =>
  withStudio(browser, {}, async ({ page, mock }) => {
    await page.getByRole("switch", { name: "Before / after" }).check();
    await page.getByText("Nothing is edited.").waitFor();
    await textOf(page, "Thorough").fill("Keep the reply short, and end it with a question.");
    await ask(page, "Why is the sky blue?");
    const left = page.getByRole("region", { name: "Before", exact: true });
    const right = page.getByRole("region", { name: "After", exact: true });
    const lengths = [await left.locator(".markdown").innerText(), await right.locator(".markdown").innerText()].map((text) => text.length);
    assert.ok(lengths[0] > lengths[1], `${lengths}`);
    const [one, two] = chatRequests(mock);
    assert.equal(one.seed, two.seed);
    assert.deepEqual([one.principles === "mine", two.principles === "mine"].sort(), [false, true]);

    const effects = page.getByRole("region", { name: "Principles and their effect" });
    await effects.getByText("Scores by smollm2-principles").waitFor();
    assert.equal(await effects.locator(".effect").count(), 3);
    assert.equal(await effects.locator(".effect-edited").count(), 1);
    assert.match(await effects.locator(".effect-edited .score-difference").innerText(), /^\+/);
    assert.equal(await effects.locator(".effect-edited ins").count(), 1);

    await left.getByRole("radio").check();
    await ask(page, "And at night?");
    const next = chatRequests(mock)[2];
    assert.equal(next.messages[1].content.length > 200, true, "the kept reply is the long one");
  }));

test("a comparison stays at its beginning, and the end is a button away", () =>
  withStudio(browser, { size: "narrow" }, async ({ page }) => {
    await page.getByRole("switch", { name: "Before / after" }).check();
    await ask(page, "Why is the sky blue?");
    await page.getByText("Scores by smollm2-principles").waitFor();
    const top = await page.locator(".comparison").evaluate((box) => box.getBoundingClientRect().top);
    assert.ok(top > 50 && top < 250, `${top}`);
    await button(page, "Go to the end").click();
    await button(page, "Go to the end").waitFor({ state: "detached" });
    assert.equal(await button(page, "Regenerate").isVisible(), true);
  }));

test("before and after against no principles", () =>
  withStudio(browser, {}, async ({ page, mock }) => {
    await page.getByRole("switch", { name: "Before / after" }).check();
    await page.getByRole("combobox", { name: "Before" }).selectOption("none");
    await ask(page, "Why is the sky blue?");
    await page.getByText("Scores by smollm2-principles").waitFor();
    const bodies = chatRequests(mock);
    assert.equal(bodies.filter((body) => body.principles === undefined).length, 1);
  }));

test("one slot: the sides are written one after the other", () =>
  withStudio(browser, { mock: { slots: 1 } }, async ({ page, mock }) => {
    await page.getByRole("switch", { name: "Before / after" }).check();
    await card(page, "Thorough").getByRole("button", { name: "Opposite" }).click();
    await ask(page, "Why is the sky blue?");
    assert.equal(chatRequests(mock).length, 2);
    assert.equal(await page.locator(".side .markdown").count(), 2);
  }));
