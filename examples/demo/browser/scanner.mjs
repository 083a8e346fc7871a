// What opens a link before its owner does, such as a mail scanner, spends nothing.

import assert from "node:assert/strict";
import { DONE, NEW, SITE, choose, scan, test, title } from "./world.mjs";

await test(async (world) => {
  const link = await world.ask();
  for (const method of ["GET", "HEAD", "GET", "HEAD"]) {
    for (const cookies of [false, true]) await scan(link, method, cookies);
  }
  // Some scanners are browsers, look at the page and take a link that is on it.
  const scanner = await (await world.context()).newPage();
  await world.click(scanner, link);
  assert.equal(await title(scanner), "Choose a new password");
  await scanner.context().close();

  const owner = await (await world.context()).newPage();
  await world.click(owner, link);
  await choose(owner, NEW);
  await owner.waitForURL(SITE + DONE);
  assert(await world.logIn(owner, NEW));
});
