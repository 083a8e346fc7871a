// All pages together, with style sheet and script, are small, and no font is loaded.

import assert from "node:assert/strict";
import { SITE, test } from "./world.mjs";
import { everyPage } from "./pages.mjs";

const MOST_BYTES = 30_000;
// The demo's own.
const OTHERS = ["/", "/login", "/dev/mailbox", "/dev/activity"];

await test(async (world) => {
  const context = await world.context();
  const bodies = new Map();
  context.on("response", (response) => {
    const { pathname } = new URL(response.url());
    if (OTHERS.includes(pathname) || !response.url().startsWith(SITE)) return;
    const kind = response.request().resourceType();
    // A file once; a page each time, for there are several behind one address.
    const key = kind === "document" ? `${pathname} ${bodies.size}` : pathname;
    // As the server says: a page that was left has no body any more.
    bodies.set(key, Number(response.headers()["content-length"]));
  });
  await everyPage(world, context, () => {});
  const bytes = [...bodies.values()].reduce((sum, length) => sum + length, 0);
  console.log(`${bytes} bytes in ${bodies.size} answers`);
  assert(bodies.size > 10 && bytes > 5_000 && bytes < MOST_BYTES, `${bytes} bytes`);
  assert(!world.requests.some(({ kind }) => kind === "font"));
});
