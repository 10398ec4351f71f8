// Takes a screenshot of every view at three sizes, light and dark, for people to look at:
//   node tests/look.mjs [filter]
import { ask, launch, settled, shot, SIZES, textOf, withStudio } from "./studio.mjs";

const filter = process.argv[2] ?? "";
const browser = await launch();

async function toPane(page, name) {
  const tab = page.getByRole("tab", { name });
  if (await tab.isVisible()) await tab.click();
}

const views = {
  async start() {},
  async chat(page) {
    await page.getByRole("button", { name: /temperature/ }).click();
    await page.getByRole("spinbutton", { name: "Best of" }).fill("4");
    await page.getByRole("button", { name: "Close the settings" }).click();
    await ask(page, "Why is the sky blue?");
    await page.getByRole("button", { name: /Compare all/ }).click();
  },
  async markdown(page) {
    await ask(page, "Show me Markdown, and think first.");
  },
  async comparison(page) {
    await toPane(page, "Principles");
    await textOf(page, "Thorough").fill("Keep the reply short: a sentence or two, and end it with a question.");
    await page.getByRole("button", { name: "Add a principle" }).click();
    await textOf(page, "Principle 4").fill("Speak warmly to the user, as to a friend.");
    await toPane(page, "Chat");
    await page.getByRole("switch", { name: "Before / after" }).check();
    await ask(page, "Why is the sky blue?");
    await page.getByText("Scores by").waitFor();
  },
  async comparisonWide(page) {
    await views.comparison(page);
    const runs = page.getByRole("button", { name: "Runs", exact: true });
    if (await runs.isVisible()) await runs.click();
  },
  async principles(page) {
    await toPane(page, "Principles");
    await textOf(page, "Thorough").fill("");
    await page.getByRole("button", { name: "Opposite" }).first().click();
    await page.getByRole("switch", { name: "Honest is on" }).uncheck();
    await page.getByRole("button", { name: "More about Honest" }).click();
    await page.getByText("the text is empty").waitFor();
  },
  async changes(page) {
    await views.principles(page);
    await page.getByRole("button", { name: "Changes" }).click();
  },
  async settings(page) {
    await page.getByRole("button", { name: /temperature/ }).click();
  },
  async runs(page) {
    await toPane(page, "Runs");
    await page.getByRole("button", { name: "Start alignment" }).click();
    await page.getByText("Step 13", { exact: true }).waitFor();
  },
};

for (const size of Object.keys(SIZES)) {
  for (const scheme of ["light", "dark"]) {
    for (const [name, act] of Object.entries(views)) {
      if (!`${name}-${size}-${scheme}`.includes(filter)) continue;
      await withStudio(browser, { size, scheme }, async ({ page }) => {
        await page.getByRole("textbox", { name: "Message" }).waitFor();
        await page.getByText("Thorough").or(page.locator("[value]")).first().waitFor({ state: "attached" });
        await act(page);
        await page.waitForTimeout(250);
        await shot(page, `${name}-${size}-${scheme}`);
      });
    }
    if (`welcome-${size}-${scheme}`.includes(filter)) {
      await withStudio(browser, { size, scheme, mock: { model: null } }, async ({ page }) => {
        await page.getByText("gemma3-1b").first().waitFor();
        await shot(page, `welcome-${size}-${scheme}`);
      });
    }
  }
}
await browser.close();
