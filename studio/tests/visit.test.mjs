// The first visit, the key, and what survives a reload.
import test, { after, before } from "node:test";
import assert from "node:assert/strict";
import { ask, launch, textOf, withStudio } from "./studio.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

test("without a model: terms are accepted, the model is pulled and opened", () =>
  withStudio(browser, { mock: { model: null } }, async ({ page, mock }) => {
    const gemma = page.getByRole("button", { name: "Download and open gemma3-1b" });
    await gemma.waitFor();
    assert.equal(await gemma.isDisabled(), true);
    const entry = page.getByRole("listitem").filter({ hasText: "gemma3-1b" });
    await entry.getByText("Gemma Terms of Use").waitFor();
    await entry.getByRole("checkbox", { name: "I accept these terms" }).check();
    await gemma.click();
    await page.getByText(/of 98\.4 MB/).waitFor();
    await page.getByRole("textbox", { name: "Message" }).waitFor();
    assert.equal(mock.state.model, "gemma3-1b");
    assert.equal(await page.getByRole("combobox", { name: "Model" }).inputValue(), "gemma3-1b");
    await ask(page, "Why is the sky blue?");
  }));

test("a key is asked for, refused, accepted, and kept in the tab only", () =>
  withStudio(browser, { mock: { apiKey: "salmon" }, allowed: [/401/] }, async ({ page }) => {
    const dialog = page.getByRole("dialog", { name: "This server asks for a key" });
    await dialog.waitFor();
    for (let i = 0; i < 3; i += 1) await page.keyboard.press("Escape"); // there is no way around it
    await dialog.getByLabel("API key").fill("trout");
    await dialog.getByRole("button", { name: "Continue" }).click();
    await dialog.getByText("The server does not accept this key.").waitFor();
    await dialog.getByLabel("API key").fill("salmon");
    await dialog.getByRole("button", { name: "Continue" }).click();
    await textOf(page, "Honest").waitFor();
    await ask(page, "Why is the sky blue?");
    await page.reload();
    await textOf(page, "Honest").waitFor();
    assert.equal(await dialog.count(), 0);
    const stored = await page.evaluate(() => JSON.stringify(localStorage));
    assert.equal(stored.includes("salmon"), false);
  }));

test("conversation, edits, settings and theme survive a reload", () =>
  withStudio(browser, {}, async ({ page }) => {
    await textOf(page, "Honest").fill("Edited and not saved.");
    await ask(page, "Why is the sky blue?");
    await page.getByRole("switch", { name: "Before / after" }).check();
    await page.getByRole("button", { name: "Theme: as the system" }).click();
    await page.getByRole("button", { name: "Theme: light" }).click();
    await page.getByRole("textbox", { name: "Message" }).fill("half a questi");
    await page.reload();
    assert.equal(await textOf(page, "Honest").inputValue(), "Edited and not saved.");
    assert.match(await page.locator(".markdown").innerText(), /The sky/);
    assert.equal(await page.getByRole("switch", { name: "Before / after" }).isChecked(), true);
    assert.equal(await page.getByRole("textbox", { name: "Message" }).inputValue(), "half a questi");
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
    assert.equal(await page.getByRole("button", { name: "Undo", exact: true }).isDisabled(), true);
    await page.getByRole("button", { name: "Changes 1" }).waitFor();
  }));

test("damaged storage is ignored", () =>
  withStudio(browser, {}, async ({ page }) => {
    await textOf(page, "Honest").waitFor();
    await page.evaluate(() => {
      for (const name of ["set", "conversation", "settings", "theme"]) localStorage.setItem(`parr-studio-${name}`, "{");
    });
    // Leaving the page writes the good state again; a second tab reads the damaged one.
    const other = await page.context().newPage();
    await other.goto(page.url());
    await textOf(other, "Honest").waitFor();
    await other.close();
  }));

test("a server that is gone is said so, and tried again on request", () =>
  withStudio(browser, { allowed: [/503/] }, async ({ page }) => {
    await textOf(page, "Honest").waitFor();
    await page.route("**/v1/server", (route) => route.fulfill({ status: 503, json: { error: { message: "The server is draining.", type: "server_error" } } }));
    await page.reload();
    await page.getByText("The server is draining.").waitFor();
    await page.unroute("**/v1/server");
    await page.getByRole("button", { name: "Try again" }).click();
    await textOf(page, "Honest").waitFor();
  }));
