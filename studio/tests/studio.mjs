// What every test needs: a browser, a mock server, and a page that fails on any complaint.
import { existsSync, mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import path from "node:path";
import assert from "node:assert/strict";
import { chromium } from "playwright";
import { createMock } from "../mock.mjs";

export const SHOTS = path.join(path.dirname(fileURLToPath(import.meta.url)), "..", "screenshots");
export const SIZES = { wide: { width: 1440, height: 900 }, medium: { width: 1024, height: 768 }, narrow: { width: 400, height: 800 } };

/** Playwright's own Chromium (`npm run browser`), or one that the system has. */
function executablePath() {
  const system = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"];
  const candidates = [process.env.STUDIO_CHROMIUM, chromium.executablePath(), ...system];
  const found = candidates.find((candidate) => candidate && existsSync(candidate));
  if (!found) throw new Error("no Chromium: run `npm run browser`, install the package `chromium`, or set STUDIO_CHROMIUM");
  return found;
}

export function launch() {
  mkdirSync(SHOTS, { recursive: true });
  // Chromium refuses its sandbox to root, which is what a container usually runs as.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath: executablePath(), args });
}

/**
 * Opens Studio in a fresh browser context. `complaints` fills with what the page logs as an error, throws, or breaks of
 * its policy, and with requests to other hosts.
 */
export async function openStudio(browser, origin, { size = "wide", scheme = "light" } = {}) {
  const context = await browser.newContext({ viewport: SIZES[size], colorScheme: scheme, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${origin}/`) && !url.startsWith("data:")) complaints.push(`request to ${url}`);
  });
  await page.goto(origin);
  return { context, page, complaints };
}

/** Opens Studio against a fresh mock server, hands the page to `body`, and fails if the page has complained. */
export async function withStudio(browser, { mock = {}, size, scheme, allowed = [] } = {}, body) {
  const server = createMock({ delayMs: 4, stepMs: 60, ...mock });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;
  const { context, page, complaints } = await openStudio(browser, origin, { size, scheme });
  try {
    await body({ page, server, mock: server.mock, origin, context });
    const unexpected = complaints.filter((text) => !allowed.some((pattern) => pattern.test(text)));
    assert.deepEqual(unexpected, []);
  } finally {
    await context.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

export const shot = (page, name) => page.screenshot({ path: path.join(SHOTS, `${name}.png`) });

const axeSource = readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Runs axe-core and fails on serious and critical violations. Returns the lesser ones. */
export async function assertAccessible(page, what) {
  await page.evaluate(await axeSource); // through the debugger, which no CSP forbids
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const describe = ({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`;
  const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  assert.deepEqual(grave.map(describe), [], `axe-core on ${what}`);
  return violations.map(describe);
}

/** Asks a question and waits for the end of the reply. */
export async function ask(page, question) {
  await page.getByRole("textbox", { name: "Message" }).fill(question);
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await settled(page);
}

export async function settled(page) {
  await page.getByRole("button", { name: "Stop", exact: true }).waitFor({ state: "detached" });
}

export const card = (page, name) => page.locator(".card").filter({ has: page.getByRole("textbox", { name: `Text of ${name}` }) });
export const textOf = (page, name) => page.getByRole("textbox", { name: `Text of ${name}` });
