// The back button: no form, no link and no password comes back, also from the back-forward cache.

import assert from "node:assert/strict";
import { CHOOSE, DONE, NEW, REFUSED, SITE, choose, test } from "./world.mjs";

// Chromium restores what was typed into a field for ordinary text, as a shown password is.
const SECRET = "typed and not sent away";

await test(async (world) => {
  const context = await world.context();
  // The pages say what comes out of the cache, before a script of theirs can change it.
  await context.addInitScript(() => {
    addEventListener("pageshow", (event) => {
      const field = document.querySelector("#password");
      if (event.persisted && field) sessionStorage.setItem("restored", `[${field.value}]`);
    });
  });
  const page = await context.newPage();
  const link = await world.ask();
  const back = async () => {
    // A page out of the cache leaves at once for a fresh one.
    const fresh = page.waitForResponse(SITE + CHOOSE);
    await Promise.all([fresh, page.goBack({ waitUntil: "commit" })]);
    await page.waitForLoadState();
  };

  // Somebody types, looks elsewhere and comes back: the link is good, the field is empty.
  for (const shown of [false, true]) {
    await world.click(page, link);
    if (shown) await page.locator("#show").check();
    await page.locator("#password").fill(SECRET);
    await page.goto(`${SITE}/login`);
    await back();
    assert.equal(page.url(), SITE + CHOOSE);
    assert.equal(await page.locator("#password").inputValue(), "", `shown: ${shown}`);
    assert.equal(await page.evaluate(() => sessionStorage.getItem("restored")), "[]");
  }

  // The same where it is loaded once more.
  await world.click(page, link);
  await page.locator("#show").check();
  await page.locator("#password").fill(SECRET);
  await page.reload();
  assert.equal(await page.locator("#password").inputValue(), "");
  assert(!(await page.locator("#show").isChecked()));

  // It is changed: behind the back button is neither form nor field.
  await choose(page, NEW);
  await page.waitForURL(SITE + DONE);
  await back();
  assert.equal(page.url(), SITE + CHOOSE);
  // What came out of the cache may still be there for a moment.
  await page.getByRole("heading", { name: "Open your link again" }).waitFor();
  assert.equal(await page.locator("form, input").count(), 0);

  // The page that refuses a password is not kept: Chromium asks whether to send the form again.
  const other = await (await world.context()).newPage();
  await world.click(other, await world.ask());
  await choose(other, REFUSED);
  assert.equal(await other.locator("#password").inputValue(), "");
  await choose(other, "another harbour at dusk");
  await other.waitForURL(SITE + DONE);
  await assert.rejects(other.goBack(), /ERR_CACHE_MISS/);
  assert.equal(await other.locator("form, input").count(), 0);
});
