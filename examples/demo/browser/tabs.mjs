// Two tabs, one link: one of them changes the password, the other says so in a clear page.

import assert from "node:assert/strict";
import { ASK, CHOOSE, DONE, NEW, SITE, choose, test, title } from "./world.mjs";

async function saysWhereToAskAgain(page, heading) {
  assert.equal(await title(page), heading);
  assert.equal(await page.getByRole("alert").count(), 1);
  assert.equal(await page.locator("form, input").count(), 0);
  await page.getByRole("link", { name: "Ask for a new link" }).click();
  await page.waitForURL(SITE + ASK);
}

await test(async (world) => {
  const link = await world.ask();
  const context = await world.context();
  const [first, second] = [await context.newPage(), await context.newPage()];
  // Another browser of the same person: a telephone, with cookies of its own.
  const telephone = await (await world.context()).newPage();
  for (const page of [first, second, telephone]) await world.click(page, link);

  await choose(first, NEW);
  await first.waitForURL(SITE + DONE);
  await choose(second, "another harbour at dusk");
  assert.equal(second.url(), SITE + CHOOSE);
  await saysWhereToAskAgain(second, "Open your link again");
  await choose(telephone, "another harbour at dusk");
  await saysWhereToAskAgain(telephone, "This link does not work");

  // The link is opened once more, where it was used and elsewhere.
  for (const page of [await context.newPage(), telephone]) {
    await world.click(page, link);
    await saysWhereToAskAgain(page, "This link does not work");
  }
  assert(await world.logIn(first, NEW), "the first one's password");
});
