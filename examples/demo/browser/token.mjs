// After the click nothing that a page, another site or a passer-by can see holds the token.

import assert from "node:assert/strict";
import { ASK, CHOOSE, DONE, NEW, REFUSED, SITE, choose, test } from "./world.mjs";

await test(async (world) => {
  const link = await world.ask();
  const token = new URL(link).searchParams.get("token");
  assert.equal(token.length, 64);
  const context = await world.context();
  const page = await context.newPage();
  const devtools = await context.newCDPSession(page);

  /** What is on the page, and around it. */
  const look = async () => {
    const { entries } = await devtools.send("Page.getNavigationHistory");
    const inside = await page.evaluate(async () => ({
      addresses: [document.URL, document.baseURI, document.referrer, location.href, window.name],
      page: document.documentElement.outerHTML,
      fields: [...document.querySelectorAll("input")].map((field) => field.value),
      history: [history.state, ...navigation.entries().map((entry) => [entry.url, entry.getState()])],
      storage: [{ ...localStorage }, { ...sessionStorage }, document.cookie],
      databases: await indexedDB.databases(),
      caches: await caches.keys(),
      loaded: performance.getEntries().map((entry) => entry.toJSON()),
      referrer: document.referrer,
    }));
    assert.equal(inside.referrer, "");
    assert(inside.page.includes("</html>"));
    // Not `userTypedURL`: beside an entry Chromium keeps, for itself, the address that redirected.
    const entryTexts = entries.map(({ url, title }) => [url, title]);
    const places = { ...inside, bar: page.url(), entries: entryTexts };
    for (const [place, held] of Object.entries(places)) {
      assert(!JSON.stringify(held).includes(token), `${place} of ${page.url()}`);
    }
  };

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
  const requests = world.requests.filter(({ url }) => url.startsWith(SITE));
  const withToken = requests.filter(({ url }) => url.includes(token));
  assert.deepEqual(withToken.map(({ method, url }) => [method, url]), [["GET", link]]);
  for (const request of requests.slice(requests.indexOf(withToken[0]) + 1)) {
    const { referer, cookie, ...headers } = await request.headers;
    assert(!referer, `${request.url} from ${referer}`);
    assert(!JSON.stringify(headers).includes(token), request.url);
  }
  // The cookie had it, and is gone.
  assert.deepEqual(await context.cookies(), []);
});
