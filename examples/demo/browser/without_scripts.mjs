// Everything works with JavaScript off.

import assert from "node:assert/strict";
import { ADA, ASK, CHOOSE, DONE, NEW, REFUSED, SENT, SITE, choose, test, title } from "./world.mjs";

await test(async (world) => {
  const page = await (await world.context({ javaScriptEnabled: false })).newPage();
  await page.goto(SITE + ASK);
  await page.getByLabel("E-mail").fill(ADA);
  await page.getByRole("button", { name: "Mail me a link" }).click();
  await page.waitForURL(SITE + SENT);
  await world.click(page, (await world.mails(1))[0].links[0]);

  // What only a script can do is not offered.
  assert(await page.locator("#show").isHidden());
  assert.equal(await page.locator("#meter").innerText(), "");
  const refused = await page.context().newPage();
  await refused.goto(SITE + CHOOSE);
  await choose(refused, REFUSED);
  assert.match(await refused.getByRole("alert").innerText(), /cannot be used/);
  await choose(page, NEW);
  await page.waitForURL(SITE + DONE);
  // Nothing tells a page out of the cache that it is an old one. Its link is spent.
  await page.goBack({ waitUntil: "commit" });
  await choose(page, "another harbour at dusk");
  assert.equal(await title(page), "Open your link again");
  assert(await world.logIn(page, NEW));
  assert(!world.requests.some(({ kind }) => kind === "script"), "no script was loaded");
});
