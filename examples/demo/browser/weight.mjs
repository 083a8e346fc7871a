// All pages together, with style sheet and script, are small, and no font is loaded.

import assert from "node:assert/strict";
import { SITE, test } from "./world.mjs";
import { everyPage } from "./pages.mjs";

const MOST_BYTES = 30_000;
// The demo's own.
const OTHERS = ["/", "/login", "/dev/mailbox"];

await test(async (world) => {
  const context = await world.context();
  const bodies = new Map();
  const reading = [];
  context.on("response", (response) => {
    const { pathname } = new URL(response.url());
    if (OTHERS.includes(pathname) || !response.url().startsWith(SITE)) return;
    const kind = response.request().resourceType();
    // A file once; a page each time, for there are several behind one address.
    const key = kind === "document" ? `${pathname} ${bodies.size}` : pathname;
    bodies.set(key, 0);
    if ([301, 302, 303].includes(response.status())) return;
    reading.push(response.body().then((body) => bodies.set(key, body.length)));
  });
  await everyPage(world, context, () => {});
  await Promise.all(reading);
  const bytes = [...bodies.values()].reduce((sum, length) => sum + length, 0);
  console.log(`${bytes} bytes in ${bodies.size} answers`);
  assert(bodies.size > 10 && bytes > 5_000 && bytes < MOST_BYTES, `${bytes} bytes`);
  assert(!world.requests.some(({ kind }) => kind === "font"));
});
