// Makes the pictures of `adapters/web/docs`: every page, narrow and wide, light and dark.

import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { World, launch } from "./world.mjs";
import { everyPage } from "./pages.mjs";

const FOLDER = fileURLToPath(new URL("../../../adapters/web/docs/", import.meta.url));
const GAP = 8;
const SHOWN = [
  "ask", "work", "work again", "sent", "code", "code refused",
  "factor", "factor refused", "choose", "refused", "done", "dead",
  "link missing", "code missing", "problem", "cancel", "cancelled", "dead cancel",
];
const SHEETS = [
  { name: "phone", width: 390, height: 640, columns: 6, scale: 0.75 },
  { name: "desktop", width: 1280, height: 720, columns: 3, scale: 0.5 },
];

const browser = await chromium.launch(launch());
try {
  const world = new World(browser);
  const shots = {};
  await everyPage(world, await world.context(), async (name, page) => {
    if (!SHOWN.includes(name)) return;
    if (name === "choose") {
      await page.locator("#password").fill("a quiet harbour at dawn");
      await page.getByText("Looks strong", { exact: true }).waitFor();
    }
    for (const { name: sheet, width, height } of SHEETS) {
      for (const colorScheme of ["light", "dark"]) {
        await page.setViewportSize({ width, height });
        await page.emulateMedia({ colorScheme });
        const shot = await page.screenshot({ animations: "disabled" });
        (shots[`${sheet}-${colorScheme}`] ??= {})[name] = shot.toString("base64");
      }
    }
  });
  for (const { name, columns, scale, ...size } of SHEETS) {
    const [width, height] = [size.width * scale, size.height * scale];
    for (const colour of ["light", "dark"]) {
      const shot = (page) => shots[`${name}-${colour}`][page];
      const images = SHOWN.map((page) => `<img src="data:image/png;base64,${shot(page)}">`);
      const sheet = await (await world.context()).newPage();
      const all = (count, length) => count * (length + GAP) - GAP;
      await sheet.setViewportSize({
        width: all(columns, width),
        height: all(Math.ceil(SHOWN.length / columns), height),
      });
      await sheet.setContent(`<style>
        body { display: flex; flex-wrap: wrap; gap: ${GAP}px; margin: 0; background: #888 }
        img { width: ${width}px; height: ${height}px }
      </style>${images.join("")}`);
      await writeFile(`${FOLDER}${name}-${colour}.png`, await sheet.screenshot());
    }
  }
} finally {
  await browser.close();
}
process.exit();
