import test, { after, before } from "node:test";
import assert from "node:assert/strict";
import { card, launch, textOf, withStudio } from "./studio.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

/** Waits until the cards have these names, in this order: the page draws a change in its next frame. */
const assertNames = (page, names) =>
  page.waitForFunction((names) => [...document.querySelectorAll(".card-name")].map((input) => input.value).join("|") === names, names.join("|"));
const button = (page, name) => page.getByRole("button", { name, exact: true });

test("edit, undo, redo, changes, save", () =>
  withStudio(browser, {}, async ({ page, mock }) => {
    await textOf(page, "Thorough").fill("Keep the reply short.");
    await card(page, "Honest").getByRole("spinbutton", { name: "Weight" }).fill("3.5");
    await page.getByRole("switch", { name: "Plain words is on" }).uncheck();
    await button(page, "Changes 3").click();
    await page.getByText("Keep the reply short.").waitFor();
    assert.equal(await page.locator(".change").count(), 3);
    await button(page, "Changes 3").click();

    await button(page, "Undo").click();
    assert.equal(await page.getByRole("switch", { name: "Plain words is on" }).isChecked(), true);
    await button(page, "Redo").click();
    assert.equal(await page.getByRole("switch", { name: "Plain words is on" }).isChecked(), false);
    await textOf(page, "Thorough").press("Control+z");
    await textOf(page, "Thorough").press("Control+z");
    await textOf(page, "Thorough").press("Control+z");
    assert.match(await textOf(page, "Thorough").inputValue(), /^Write at length/);
    assert.equal(await button(page, "Undo").isDisabled(), true);
    assert.equal(await button(page, "Save").isDisabled(), true);
    for (let i = 0; i < 3; i += 1) await textOf(page, "Thorough").press("Control+Shift+z");

    await button(page, "Save").click();
    await page.getByText("Saved mine.").waitFor();
    const saved = mock.sets.get("mine").principles;
    assert.equal(saved[2].definition, "Keep the reply short.");
    assert.equal(saved[1].weight, 3.5);
    assert.equal(saved[0].on, false);
    assert.equal(await button(page, "Save").isDisabled(), true);
    const put = mock.state.requests.find((request) => request.method === "PUT");
    assert.match(put.body.hash, /^[0-9a-f]{16}$/);
  }));

test("a file that has changed: reload, then undo and overwrite", () =>
  withStudio(browser, { allowed: [/409/] }, async ({ page, mock }) => {
    await textOf(page, "Honest").fill("My version.");
    mock.sets.get("mine").principles[1].definition = "The version of somebody else.";
    await button(page, "Save").click();
    const dialog = page.getByRole("dialog", { name: "The file has changed" });
    await dialog.getByRole("button", { name: "Reload the file" }).click();
    await page.waitForFunction(() => document.querySelectorAll(".card-text")[1].value === "The version of somebody else.");
    await button(page, "Undo").click();
    assert.equal(await textOf(page, "Honest").inputValue(), "My version.");

    mock.sets.get("mine").principles[1].definition = "Changed again.";
    await button(page, "Save").click();
    await dialog.getByRole("button", { name: "Overwrite it" }).click();
    await page.getByText("Saved mine.").waitFor();
    assert.equal(mock.sets.get("mine").principles[1].definition, "My version.");
  }));

test("a file that was edited elsewhere is read again when the page comes back", () =>
  withStudio(browser, {}, async ({ page, mock }) => {
    await textOf(page, "Honest").waitFor();
    mock.sets.get("mine").principles[1].definition = "Written in an editor.";
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await page.waitForFunction(() => document.querySelectorAll(".card-text")[1].value === "Written in an editor.");
    await textOf(page, "Honest").fill("Edited here.");
    mock.sets.get("mine").principles[1].definition = "Written again.";
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await page.waitForTimeout(200);
    assert.equal(await textOf(page, "Honest").inputValue(), "Edited here.");
  }));

test("a file that cannot be read is not replaced in passing", () =>
  withStudio(browser, {}, async ({ page, mock }) => {
    const mistakes = [{ line: 3, column: 1, index: null, message: "`use` is missing", severity: "error" }];
    await textOf(page, "Honest").waitFor();
    await page.evaluate(() => localStorage.clear());
    const other = await page.context().newPage();
    await other.route("**/v1/principles/mine", (route) =>
      route.request().method() === "GET" ? route.fulfill({ json: { name: "mine", source: "file", title: "", hash: "0", principles: [], mistakes, text: "?" } }) : route.fallback(),
    );
    await other.goto(page.url());
    await other.getByText("Line 3: `use` is missing").waitFor();
    await other.getByRole("button", { name: "Add a principle" }).click();
    await other.keyboard.type("Be brief.");
    await other.getByRole("button", { name: "Save as\u2026" }).click();
    await other.getByRole("dialog", { name: "Save as a new set" }).waitFor();
    assert.equal(mock.sets.get("mine").principles.length, 3);
  }));

test("mistakes are shown at their card and stop a run", () =>
  withStudio(browser, {}, async ({ page }) => {
    await textOf(page, "Honest").fill("");
    const mistake = card(page, "Honest").getByText("the text is empty");
    await mistake.waitFor();
    assert.equal(await textOf(page, "Honest").getAttribute("aria-invalid"), "true");
    assert.equal(await button(page, "Start alignment").isDisabled(), true);
    await textOf(page, "Honest").fill("Be honest.");
    await mistake.waitFor({ state: "detached" });
    assert.equal(await button(page, "Start alignment").isDisabled(), false);
  }));

test("turn a principle, and write an opposite for one that has none", () =>
  withStudio(browser, {}, async ({ page, mock }) => {
    const thorough = card(page, "Thorough");
    await thorough.getByRole("button", { name: "Opposite" }).click();
    assert.match(await textOf(page, "Thorough").inputValue(), /^Keep the reply short/);
    const honest = card(page, "Honest");
    assert.equal(await honest.getByRole("button", { name: "Opposite" }).isDisabled(), true);
    await honest.getByRole("button", { name: "More about Honest" }).click();
    await honest.getByRole("textbox", { name: "Opposite" }).fill("Guess when you do not know.");
    await honest.getByRole("button", { name: "Opposite" }).click();
    assert.equal(await textOf(page, "Honest").inputValue(), "Guess when you do not know.");
    await button(page, "Save").click();
    await page.getByText("Saved mine.").waitFor();
    const [, second, third] = mock.sets.get("mine").principles;
    assert.equal(second.definition, "Guess when you do not know.");
    assert.match(third.negative, /^Write at length/);
  }));

test("add, delete, and drag to another place", () =>
  withStudio(browser, {}, async ({ page }) => {
    await button(page, "Add a principle").click();
    await page.keyboard.type("End with a question.");
    assert.equal(await textOf(page, "Principle 4").inputValue(), "End with a question.");
    await button(page, "Delete Honest").click();
    await assertNames(page, ["Plain words", "Thorough", "Principle 4"]);
    await button(page, "Undo").click();
    await assertNames(page, ["Plain words", "Honest", "Thorough", "Principle 4"]);

    const grip = button(page, "Move Principle 4");
    const from = await grip.boundingBox();
    const to = await card(page, "Plain words").boundingBox();
    await page.mouse.move(from.x + 10, from.y + 10);
    await page.mouse.down();
    await page.mouse.move(from.x + 10, to.y + 60, { steps: 8 });
    await page.mouse.move(from.x + 10, to.y - 30, { steps: 4 });
    await page.mouse.up();
    await assertNames(page, ["Principle 4", "Plain words", "Honest", "Thorough"]);
    await button(page, "Undo").click();
    await assertNames(page, ["Plain words", "Honest", "Thorough", "Principle 4"]);
  }));

test("a set that comes with Parr is saved under another name", () =>
  withStudio(browser, {}, async ({ page, mock }) => {
    const menu = page.getByRole("combobox", { name: "Set of principles" });
    await menu.selectOption("small");
    await textOf(page, "Brief").fill("Answer in five words.");
    await button(page, "Save as\u2026").click();
    const dialog = page.getByRole("dialog", { name: "Save as a new set" });
    await dialog.getByRole("textbox", { name: "Name" }).fill("Not A Name");
    assert.equal(await dialog.getByRole("button", { name: "Save" }).isDisabled(), true);
    await dialog.getByRole("textbox", { name: "Name" }).fill("five-words");
    await dialog.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved as five-words.").waitFor();
    assert.equal(mock.sets.get("five-words").principles[0].definition, "Answer in five words.");
    assert.equal(mock.sets.get("small").principles[0].definition, "Answer in a single short sentence.");
    await page.waitForFunction(() => document.querySelector(".select-title").value === "five-words");
  }));

test("another set is opened only after a question if there are edits", () =>
  withStudio(browser, {}, async ({ page }) => {
    const menu = page.getByRole("combobox", { name: "Set of principles" });
    await textOf(page, "Honest").fill("Edited.");
    await menu.selectOption("style");
    const dialog = page.getByRole("dialog", { name: "Discard your edits?" });
    await dialog.getByRole("button", { name: "Keep editing" }).click();
    assert.equal(await menu.inputValue(), "mine");
    await menu.selectOption("style");
    await dialog.getByRole("button", { name: "Discard" }).click();
    await page.getByText("12 principles are on; replies follow the 8 with the largest weights").waitFor();
  }));
