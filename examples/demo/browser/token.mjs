// After the click nothing that a page, another site or a passer-by can see holds the token.

import assert from "node:assert/strict";
import { areSilent, ownRequests, searcher } from "./traces.mjs";
import { ASK, CHOOSE, DONE, NEW, REFUSED, SITE, choose, test } from "./world.mjs";

await test(async (world) => {
  const link = await world.ask();
  const token = new URL(link).searchParams.get("token");
  assert.equal(token.length, 64);
  const context = await world.context();
  const page = await context.newPage();
  const look = await searcher(page, [token]);

  await world.click(page, link);
  assert.equal(page.url(), SITE + CHOOSE);
  await look();
  await choose(page, REFUSED);
  await look();
  await page.goto(SITE + ASK);
  await look();
  await page.goto(SITE + CHOOSE);
  await look();
  await choose(page, NEW);
  await page.waitForURL(SITE + DONE);
  await look();

  // One request has it in its address; no request says where its visitor came from.
  const requests = ownRequests(world);
  const withToken = requests.filter(({ url }) => url.includes(token));
  assert.deepEqual(withToken.map(({ method, url }) => [method, url]), [["GET", link]]);
  await areSilent(requests.slice(requests.indexOf(withToken[0]) + 1), [token]);
  // The cookie had it, and is gone.
  assert.deepEqual(await context.cookies(), []);
});
