// Keyboard only, narrow screens, and axe-core in light and dark.
import test, { after, before } from "node:test";
import assert from "node:assert/strict";
import { ask, assertAccessible, card, launch, settled, shot, SIZES, textOf, withStudio } from "./studio.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

const focused = (page) => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.id ?? "");

async function tabTo(page, label, most = 80) {
  for (let i = 0; i < most; i += 1) {
    if ((await focused(page)) === label) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`Tab does not reach "${label}"`);
}

test("everything by keyboard: edit, move, save, ask, compare, run", () =>
  withStudio(browser, {}, async ({ page, mock }) => {
    await textOf(page, "Honest").waitFor();
    await page.keyboard.press("Alt+1");
    await tabTo(page, "Text of Thorough");
    await page.keyboard.press("Control+a");
    await page.keyboard.type("Keep the reply short.");
    await page.keyboard.press("Alt+ArrowUp");
    await page.keyboard.press("Alt+ArrowUp");
    assert.equal(await page.locator(".card-name").first().inputValue(), "Thorough");
    await page.waitForFunction(() => document.activeElement.getAttribute("aria-label") === "Text of Thorough");
    await page.getByText("Moved to position 1 of 3.").waitFor({ state: "attached" });

    await page.keyboard.press("Alt+2");
    await tabTo(page, "Message");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Space"); // the switch for before/after
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.type("Why is the sky blue?");
    await page.keyboard.press("Enter");
    await settled(page);
    assert.equal(await page.locator(".side").count(), 2);

    await page.keyboard.press("Control+s");
    await page.getByText("Saved mine.").waitFor();
    assert.equal(mock.sets.get("mine").principles[0].name, "Thorough");

    await page.keyboard.press("Alt+3");
    await page.keyboard.press("Tab");
    for (let i = 0; i < 10; i += 1) {
      if (await page.evaluate(() => document.activeElement.textContent === "Start alignment")) break;
      await page.keyboard.press("Tab");
    }
    await page.keyboard.press("Enter");
    await page.getByRole("img", { name: /^Reward/ }).waitFor();
  }));

test("focus is always visible", () =>
  withStudio(browser, {}, async ({ page }) => {
    await textOf(page, "Honest").waitFor();
    for (let i = 0; i < 45; i += 1) {
      await page.keyboard.press("Tab");
      const [name, shown] = await page.evaluate(() => {
        const element = document.activeElement;
        // Some controls are drawn by a neighbour or a frame that carries the outline for them.
        const drawn = [element, element.nextElementSibling, element.closest(".composer")].filter(Boolean);
        return [element.outerHTML.slice(0, 120), element === document.body || drawn.some((e) => getComputedStyle(e).outlineStyle !== "none")];
      });
      assert.ok(shown, name);
    }
  }));

test("a dialog keeps the focus, closes on Escape and gives the focus back", () =>
  withStudio(browser, {}, async ({ page }) => {
    await textOf(page, "Honest").waitFor();
    await page.getByRole("button", { name: "Keys" }).click();
    await page.getByRole("dialog", { name: "Keys" }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.equal(await focused(page), "Keys");
  }));

test("tabs on narrow screens move with the arrow keys", () =>
  withStudio(browser, { size: "narrow" }, async ({ page }) => {
    await page.getByRole("tab", { name: "Chat" }).focus();
    await page.keyboard.press("ArrowLeft");
    await textOf(page, "Honest").waitFor();
    assert.equal(await page.getByRole("tab", { name: "Principles" }).getAttribute("aria-selected"), "true");
    await page.keyboard.press("ArrowLeft");
    await page.getByRole("button", { name: "Start alignment" }).waitFor();
  }));

async function toPane(page, name) {
  const tab = page.getByRole("tab", { name });
  if (await tab.isVisible()) await tab.click();
}

async function assertFits(page, what) {
  const wide = await page.evaluate(() => {
    const limit = document.documentElement.clientWidth;
    const out = [...document.querySelectorAll("#studio *")].filter((e) => {
      const { right, width } = e.getBoundingClientRect();
      return width > 0 && right > limit + 1 && !e.closest("pre, .table-scroll, .hidden, .effect-what");
    });
    return [document.documentElement.scrollWidth > limit, ...out.slice(0, 3).map((e) => e.outerHTML.slice(0, 120))];
  });
  assert.deepEqual(wide, [false], what);
}

for (const size of Object.keys(SIZES)) {
  for (const scheme of ["light", "dark"]) {
    test(`every view at ${SIZES[size].width} px, ${scheme}: axe-core, nothing cut off`, () =>
      withStudio(browser, { size, scheme, mock: { stepMs: 20 } }, async ({ page }) => {
        const look = async (name) => {
          await assertFits(page, name);
          await assertAccessible(page, name);
          await shot(page, `test-${name}-${size}-${scheme}`);
        };
        await page.getByRole("textbox", { name: "Message" }).waitFor();
        await look("start");
        await page.getByRole("button", { name: /temperature/ }).click();
        await page.getByRole("spinbutton", { name: "Best of" }).fill("4");
        await look("settings");
        await page.getByRole("button", { name: "Close the settings" }).click();
        await ask(page, "Show me Markdown, and think.");
        await ask(page, "Why is the sky blue?");
        await page.getByRole("button", { name: "Compare all 4 candidates" }).last().click();
        await look("candidates");
        await toPane(page, "Principles");
        await card(page, "Thorough").getByRole("button", { name: "Opposite" }).click();
        await page.getByRole("switch", { name: "Honest is on" }).uncheck();
        await page.getByRole("button", { name: "More about Honest" }).click();
        await page.getByRole("button", { name: "Add a principle" }).click();
        await page.getByText("the text is empty").waitFor();
        await look("principles");
        await textOf(page, "Principle 4").fill("End with a question.");
        await page.getByText("the text is empty").waitFor({ state: "detached" });
        await page.getByRole("button", { name: "Changes 3" }).click();
        await look("changes");
        await toPane(page, "Chat");
        await page.getByRole("switch", { name: "Before / after" }).check();
        await ask(page, "How do I start running?");
        await page.getByText("Scores by").waitFor();
        await look("comparison");
        await toPane(page, "Runs");
        await page.getByRole("button", { name: "Start alignment" }).click();
        await page.getByText("Step 21", { exact: true }).waitFor();
        await look("run");
      }));
  }
}

for (const scheme of ["light", "dark"]) {
  test(`first visit and dialogs, ${scheme}: axe-core`, async () => {
    await withStudio(browser, { size: "narrow", scheme, mock: { model: null } }, async ({ page }) => {
      await page.getByText("gemma3-1b").first().waitFor();
      await assertFits(page, "first visit");
      await assertAccessible(page, "first visit");
    });
    await withStudio(browser, { size: "narrow", scheme, mock: { apiKey: "k" }, allowed: [/401/] }, async ({ page }) => {
      await page.getByRole("dialog").waitFor();
      await assertAccessible(page, "key dialog");
    });
    await withStudio(browser, { scheme, allowed: [/409/] }, async ({ page, mock }) => {
      await textOf(page, "Honest").fill("Mine.");
      mock.sets.get("mine").principles[1].definition = "Theirs.";
      await page.getByRole("button", { name: "Save", exact: true }).click();
      await page.getByRole("dialog").waitFor();
      await assertAccessible(page, "conflict");
      await shot(page, `test-conflict-${scheme}`);
    });
  });
}
