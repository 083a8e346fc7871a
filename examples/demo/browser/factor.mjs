// The second factor between the link and the new password, with JavaScript and without.

import assert from "node:assert/strict";
import { CHOOSE, DONE, NEW, SITE, choose, leadsOn, test, title } from "./world.mjs";

const HEDY = "hedy@example.com";

/** The code on her telephone, other than the last one: each is taken once. */
async function code(last) {
  for (;;) {
    const page = await (await fetch(`${SITE}/dev/totp`)).text();
    const [, shown] = page.match(/id="code">(\d{6})</);
    if (shown !== last) return shown;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

await test(async (world) => {
  let last;
  for (const javaScriptEnabled of [true, false]) {
    const context = await world.context({ javaScriptEnabled });
    const page = await context.newPage();
    await world.click(page, (await world.letter(HEDY)).links[0]);
    assert.equal(page.url(), SITE + CHOOSE);
    assert.equal(await title(page), "Confirm that it is you");
    assert(await page.getByText("h***@example.com").isVisible());
    const field = page.getByLabel("Code of your second factor");
    assert.equal(await field.getAttribute("autocomplete"), "one-time-code");

    await field.fill("000000");
    await leadsOn(page, () => field.press("Enter"));
    assert(await page.getByRole("alert").getByText("This is not right").isVisible());
    assert.equal(await field.inputValue(), "");

    last = await code(last);
    await field.fill(`${last.slice(0, 3)} ${last.slice(3)}`);
    await leadsOn(page, () => field.press("Enter"));
    assert.equal(page.url(), SITE + CHOOSE);
    assert.equal(await title(page), "Choose a new password");
    const cookies = (await context.cookies()).filter(({ name }) => name.endsWith("-factor"));
    assert.deepEqual(cookies.map(({ httpOnly }) => httpOnly), [true]);
    await choose(page, `${NEW}${javaScriptEnabled}`);
    assert.equal(page.url(), SITE + DONE);
    assert.deepEqual(await context.cookies(), []);
  }
});
