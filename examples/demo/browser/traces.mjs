// What a page, another site or a passer-by can see.

import assert from "node:assert/strict";
import { SITE } from "./world.mjs";

/** Answers what looks at a page, and around it, for each of these secrets. */
export async function searcher(page, secrets) {
  const devtools = await page.context().newCDPSession(page);
  return async () => {
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
      const text = JSON.stringify(held);
      assert(!secrets.some((secret) => text.includes(secret)), `${place} of ${page.url()}`);
    }
  };
}

/** The requests from one on: none says where its visitor came from, or holds one of the secrets. */
export async function areSilent(requests, secrets) {
  for (const request of requests) {
    const { referer, cookie, ...headers } = await request.headers;
    assert(!referer, `${request.url} from ${referer}`);
    const text = JSON.stringify([request.url, headers]);
    assert(!secrets.some((secret) => text.includes(secret)), request.url);
  }
}

/** The requests to the demo, in their order. */
export function ownRequests(world) {
  return world.requests.filter(({ url }) => url.startsWith(SITE));
}
