// No page loads anything from elsewhere, breaks the policy of its header lines, or complains.

import assert from "node:assert/strict";
import { SITE, test } from "./world.mjs";
import { everyPage } from "./pages.mjs";

await test(async (world) => {
  const names = [];
  await everyPage(world, await world.context(), (name) => names.push(name));
  assert.equal(names.length, 20);
  assert.deepEqual(world.faults(), []);
  const files = world.requests.filter(({ kind }) => kind !== "document");
  assert(files.length > 10 && files.every(({ url }) => url.startsWith(SITE)));

  // The watch does see such things.
  const page = await (await world.context()).newPage();
  await page.goto(`${SITE}/login`);
  const blocked = page.waitForEvent("console");
  await page.evaluate(() => {
    document.body.append(Object.assign(new Image(), { src: "https://example.org/pixel.png" }));
  });
  await blocked;
  assert.match(world.faults().join(), /Content Security Policy/);
  world.forget();
});
