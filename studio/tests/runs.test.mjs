import test, { after, before } from "node:test";
import assert from "node:assert/strict";
import { launch, textOf, withStudio } from "./studio.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

const button = (page, name) => page.getByRole("button", { name, exact: true });
const runRequest = (mock) => mock.state.requests.find((request) => request.method === "POST" && request.path === "/v1/runs").body;

test("a run: curves, samples, pause, resume, and its adapter in the model menu", () =>
  withStudio(browser, { mock: { stepMs: 90 } }, async ({ page, mock }) => {
    await textOf(page, "Thorough").fill("End with a question.");
    await page.getByRole("radio", { name: "2 min" }).check();
    await button(page, "Start alignment").click();
    await page.getByRole("img", { name: /^Reward: .* at step [3-9]/ }).waitFor();
    const body = runRequest(mock);
    assert.equal(body.minutes, 2);
    assert.match(body.principles, /End with a question\./);
    assert.equal(await page.locator(".curve canvas").count(), 4);
    const painted = await page.locator(".curve canvas").first().evaluate((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.some((value) => value !== 0);
    });
    assert.equal(painted, true);
    await page.getByText("Step 1", { exact: true }).waitFor();
    await page.getByText("the reward model hardly reads: Be as a river.").waitFor();

    await button(page, "Pause").click();
    await page.getByText("paused", { exact: true }).waitFor();
    const step = () => page.locator(".run-facts").innerText();
    const paused = await step();
    await page.waitForTimeout(300);
    assert.equal(await step(), paused);
    await button(page, "Resume").click();
    await page.getByText("align-1 is done. Its adapter is in the model menu.").waitFor();
    // The readout beside a curve is the last point, not the first.
    const readout = await page.locator(".curve .number").first().innerText();
    const summary = await page.getByRole("img", { name: /^Reward/ }).getAttribute("aria-label");
    assert.ok(summary.endsWith(`${readout} at step 24`), `${readout} / ${summary}`);
    // Its events tell its past once more, which is no news.
    await page.getByText("align-1 is done.").waitFor({ state: "detached" });
    for (let times = 0; times < 2; times += 1) await page.locator(".run-head").click();
    await page.getByRole("img", { name: /^Reward: .* at step 24$/ }).waitFor();
    assert.equal(await page.locator(".run-status").innerText(), "done");
    assert.equal(await page.getByText("align-1 is done.").count(), 0);
    await button(page, "Chat with it").click();
    assert.equal(await page.getByRole("combobox", { name: "Model" }).inputValue(), "smollm2:align-1");
  }));

test("cancel, with a budget in steps and settings", () =>
  withStudio(browser, { mock: { stepMs: 80 } }, async ({ page, mock }) => {
    await page.getByText("Advanced").click();
    await page.getByRole("textbox", { name: "Name", exact: true }).last().fill("short-run");
    await page.getByRole("spinbutton", { name: "Steps" }).fill("50");
    await page.getByRole("textbox", { name: "Settings" }).fill("{ not json");
    assert.equal(await button(page, "Start alignment").isDisabled(), true);
    await page.getByRole("textbox", { name: "Settings" }).fill('{"learning_rate": 0.0002}');
    await button(page, "Start alignment").click();
    await page.getByRole("img", { name: /^KL/ }).waitFor();
    await button(page, "Cancel").click();
    await page.getByText("cancelled", { exact: true }).waitFor();
    const body = runRequest(mock);
    assert.deepEqual([body.name, body.steps, body.minutes, body.settings], ["short-run", 50, undefined, { learning_rate: 0.0002 }]);
  }));

test("a cancelled run is resumed", () =>
  withStudio(browser, { mock: { stepMs: 80 } }, async ({ page }) => {
    await button(page, "Start alignment").click();
    await page.getByRole("img", { name: /^Reward: .* at step [3-9]$/ }).waitFor();
    await button(page, "Cancel").click();
    await page.getByText("cancelled", { exact: true }).waitFor();
    await button(page, "Resume").click();
    await page.getByText(/^cancelled at step \d+, and resumed$/).waitFor();
    await page.getByText("align-1 is done.").waitFor();
    await page.getByRole("img", { name: /^Reward: .* at step 1, .* at step 24$/ }).waitFor();
    await button(page, "Chat with it").waitFor();
  }));

test("a connection that breaks is taken up again where it stopped", () =>
  withStudio(browser, { mock: { stepMs: 150 }, allowed: [/ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE|ERR_CONNECTION/] }, async ({ page, server, mock }) => {
    await button(page, "Start alignment").click();
    await page.getByRole("img", { name: /at step [4-9]/ }).first().waitFor();
    server.closeAllConnections();
    await page.getByText("align-1 is done.").waitFor();
    await page.getByRole("img", { name: /^Reward: .* at step 1, .* at step 24$/ }).waitFor();
    assert.ok(mock.state.requests.filter((request) => request.path.endsWith("/events")).length >= 2);
  }));

test("a reload finds the run again", () =>
  withStudio(browser, { mock: { stepMs: 150 } }, async ({ page }) => {
    await button(page, "Start alignment").click();
    await page.getByRole("img", { name: /at step [3-9]/ }).first().waitFor();
    await page.reload();
    await page.getByRole("img", { name: /^Reward: .* at step 1, / }).waitFor();
  }));
