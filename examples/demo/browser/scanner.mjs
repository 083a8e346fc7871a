// What opens a link before its owner does, such as a mail scanner, spends nothing.

import assert from "node:assert/strict";
import { DONE, NEW, SITE, choose, test, title } from "./world.mjs";

/** Follows a link without a browser, with or without the cookie that it is given. */
async function scan(link, method, cookies) {
  const first = await fetch(link, { method, redirect: "manual" });
  assert.equal(first.status, 303);
  const cookie = first.headers.get("set-cookie").split(";")[0];
  const next = new URL(first.headers.get("location"), SITE);
  const second = await fetch(next, { method, headers: cookies ? { cookie } : {} });
  assert.equal(second.status, cookies ? 200 : 404);
}

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
