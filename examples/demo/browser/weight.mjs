// All pages together, each in every state, with style sheet and scripts, are small: in English, and
// in the language that weighs most. No font is loaded.

import assert from "node:assert/strict";
import { SITE, WORK_SITE, test } from "./world.mjs";
import { everyPage } from "./pages.mjs";

const MOST_BYTES = 30_000;
/** English; and Japanese, whose letters take three bytes each. */
const LOCALES = ["en", "ja"];
// The demo's own.
const OTHERS = ["/", "/login", "/dev/mailbox", "/dev/activity"];

await test(async (world) => {
  for (const locale of LOCALES) await weigh(world, locale);
  assert(!world.requests.some(({ kind }) => kind === "font"));
});

async function weigh(world, locale) {
  const context = await world.context({ locale });
  const bodies = new Map();
  context.on("response", (response) => {
    const { origin, pathname } = new URL(response.url());
    if (OTHERS.includes(pathname) || ![SITE, WORK_SITE].includes(origin)) return;
    const kind = response.request().resourceType();
    // As the server says: a page that was left has no body any more.
    const length = Number(response.headers()["content-length"]);
    // A file once; a page once in each state, for there are several behind one address.
    const key = kind === "document" ? `${pathname} ${response.status()} ${length}` : pathname;
    bodies.set(key, length);
  });
  await everyPage(world, context, () => {});
  const bytes = [...bodies.values()].reduce((sum, length) => sum + length, 0);
  console.log(`${locale}: ${bytes} bytes in ${bodies.size} answers`);
  const files = [...bodies.keys()].filter((key) => /\.(css|js)$/.test(key));
  assert.deepEqual(files.map((file) => file.split("/").at(-1)).sort(), ["script.js", "style.css", "work.js"]);
  assert(bodies.size > 20 && bytes > 5_000 && bytes < MOST_BYTES, `${locale}: ${bytes} bytes`);
}
