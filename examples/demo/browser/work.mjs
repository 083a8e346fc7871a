// Work before a request is taken: a person does not feel it, a program is asked for it, and who has
// no scripts is told.

import assert from "node:assert/strict";
import { ADA, ASK, SENT, SITE, TYPE, leadsOn, request, test } from "./world.mjs";

await test(async (world) => {
  const context = await world.context();
  const page = await context.newPage();
  await page.goto(SITE + ASK);
  const identifier = page.getByLabel("E-mail");

  // A page that is only looked at computes nothing; one that is typed into can be typed into.
  assert.equal(await page.locator("[name=proof]").inputValue(), "");
  await identifier.pressSequentially(ADA);
  assert.equal(await identifier.inputValue(), ADA);
  await leadsOn(page, () => identifier.press("Enter"));
  assert.equal(page.url(), SITE + SENT);
  await world.mails(1);

  // Back on the page there is other work, and the second button is kept.
  await page.goto(SITE + ASK);
  await identifier.fill("user-1@example.com");
  await leadsOn(page, () => page.locator("button[value=code]").click());
  assert.equal(page.url(), SITE + TYPE);
  await world.mails(1, "reset_code");

  // However often it is pressed: one request, and the work is announced.
  await page.goto(SITE + ASK);
  const told = await page.evaluate(() => {
    const words = [];
    const status = document.getElementById("work");
    new MutationObserver(() => words.push(status.textContent)).observe(status, { childList: true });
    return new Promise((resolve) => {
      document.querySelector("form").addEventListener("formdata", () => resolve(words));
      document.getElementById("identifier").value = "user-2@example.com";
      const button = document.querySelector("form button");
      for (let press = 0; press < 3; press += 1) button.click();
    });
  });
  assert.equal(told[0], "One moment, your browser is calculating …");
  await page.waitForURL(SITE + SENT);
  await world.mails(2);

  // A program that fills in the form, and a person without scripts.
  const refused = await request({ identifier: ADA });
  assert.equal(refused.status, 403);
  assert.match(await refused.text(), /Please send it once more/);
  const without = await (await world.context({ javaScriptEnabled: false })).newPage();
  await without.goto(SITE + ASK);
  assert(await without.getByText("this page needs JavaScript").isVisible());
  await without.getByLabel("E-mail").fill("user-3@example.com");
  await leadsOn(without, () => without.getByLabel("E-mail").press("Enter"));
  assert.equal(without.url(), SITE + ASK);
  assert(await without.getByRole("alert").isVisible());
  assert.equal((await world.mails(2)).length, 2);
});
