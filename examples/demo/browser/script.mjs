// What the script adds: how far a password is, the password in plain sight, one request a form.

import assert from "node:assert/strict";
import { CHOOSE, DONE, NEW, SITE, test } from "./world.mjs";

await test(async (world) => {
  const page = await (await world.context()).newPage();
  // Devtools cannot look into a page that waits for an answer, so it tells what happens; and its
  // time runs four times as fast.
  await page.addInitScript(() => {
    const { setTimeout } = window;
    window.setTimeout = (call, wait) => setTimeout(call, wait / 4);
    const told = ({ target, attributeName }) =>
      console.log(`${target.localName} ${attributeName} ${target.getAttribute(attributeName)}`);
    const attributeFilter = ["aria-disabled", "type"];
    const observer = new MutationObserver((changes) => changes.forEach(told));
    observer.observe(document, { attributes: true, attributeFilter, subtree: true });
  });
  const told = [];
  page.on("console", (message) => told.push(message.text()));
  await world.click(page, await world.ask());
  const password = page.locator("#password");
  const meter = page.locator("#meter");
  const button = page.getByRole("button", { name: "Set password" });

  // As the server counts: an emoji is one character, a letter with its accent too.
  for (const [typed, said, state] of [
    ["short", "10 more characters", ""],
    ["a quiet harbou", "1 more character", ""],
    ["\u{1f600}".repeat(14), "1 more character", ""],
    ["e\u0301".repeat(14), "1 more character", ""],
    ["aaaaaaaaaaaaaaaaaaaa", "Long enough, but too simple", "bad"],
    // The server refuses these, however many different characters they have.
    ["12345678901234567890", "Long enough, but too simple", "bad"],
    ["09876543210987654321", "Long enough, but too simple", "bad"],
    ["abcdefghijklmnopqrstuvwxyz", "Long enough, but too simple", "bad"],
    ["passwordPASSWORD", "Long enough, but too simple", "bad"],
    ["abcdefghijklmnopqrstuvwxy!", "Looks strong", "good"],
    ["quiet harbourss", "Long enough", "good"],
    [NEW, "Looks strong", "good"],
    ["x".repeat(258), "2 characters too many", "bad"],
    ["", "", ""],
  ]) {
    await password.fill(typed);
    await until(async () => (await meter.innerText()) === said, `${typed}: ${said}`);
    assert.equal((await meter.getAttribute("data-state")) ?? "", state, typed);
  }

  await password.fill(NEW);
  await page.getByLabel("Show password").check();
  assert.equal(await password.getAttribute("type"), "text");

  // Nobody answers, and the button is pressed again and again: one request.
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await page.route(SITE + CHOOSE, async (route) => {
    if (route.request().method() === "POST") await held;
    // The browser gives the first up for the second.
    await route.continue().catch(() => {});
  });
  const posts = () =>
    world.requests.filter(({ method, url }) => method === "POST" && url === SITE + CHOOSE).length;
  const { x, y } = await button.boundingBox();
  told.length = 0;
  await page.mouse.dblclick(x + 5, y + 5);
  for (const key of ["Enter", "Space", "Enter"]) await page.keyboard.press(key);
  await until(() => told.length >= 2, "the form is sent");
  assert.deepEqual(told, ["input type password", "button aria-disabled true"]);
  await until(() => posts() >= 1, "the request is seen");
  assert.equal(posts(), 1);
  // After a while it can be pressed again: perhaps somebody has stopped the waiting.
  await until(() => told.includes("button aria-disabled null"), "the button is good again");
  assert.equal(posts(), 1);
  await page.keyboard.press("Enter");
  await until(() => posts() === 2, "a second request");
  release();
  await page.waitForURL(SITE + DONE);
});

async function until(holds, what) {
  for (const end = Date.now() + 5_000; !(await holds()); ) {
    assert(Date.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
