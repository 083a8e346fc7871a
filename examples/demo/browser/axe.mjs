// axe-core finds nothing on any page: light and dark, on a phone and on a desktop, in two languages.

import assert from "node:assert/strict";
import axe from "axe-core";
import { test } from "./world.mjs";
import { everyPage } from "./pages.mjs";

const WIDTHS = [390, 1280];
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

await test(async (world) => {
  const faults = [];
  let runs = 0;
  for (const locale of ["en", "ja"]) {
    await everyPage(world, await world.context({ locale }), async (name, page) => {
      await page.evaluate(axe.source);
      for (const width of WIDTHS) {
        for (const colorScheme of ["light", "dark"]) {
          await page.setViewportSize({ width, height: 800 });
          await page.emulateMedia({ colorScheme });
          const found = await page.evaluate((runOnly) => axe.run({ runOnly }), RULES);
          assert(found.passes.length > 10, `${name}: ${found.passes.length} rules`);
          // What axe cannot judge by itself counts too; but not the contrast of single digits, nor
          // of what a table that is scrolled sideways cuts off.
          const table = name === "activity";
          const unsure = found.incomplete.filter(({ id }) => !(table && id === "color-contrast"));
          for (const { id, nodes } of [...found.violations, ...unsure]) {
            const where = nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`);
            faults.push(`${name}, ${locale}, ${width}, ${colorScheme}: ${id} ${where}`);
          }
          runs += 1;
        }
      }
      // The narrowest page that has to do without scrolling sideways (WCAG 1.4.10).
      await page.setViewportSize({ width: 320, height: 800 });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) faults.push(`${name}, ${locale}: ${wide} pixels too wide`);
    });
  }
  assert.equal(runs, 2 * 22 * 4);
  assert.deepEqual(faults, []);
});
