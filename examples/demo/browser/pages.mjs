// A walk through every page.

import {
  ADA, ASK, CANCEL, CANCELLED, CHOOSE, DONE, NEW, REFUSED, SENT, SITE, TYPE, WORK_SITE, choose,
  leadsOn, mistyped, typeCode,
} from "./world.mjs";

/** Has the form of a token, and is none. */
const NO_TOKEN = "A".repeat(64);

let walks = 0;

/**
 * Goes once through all pages with the two newest links, and calls `look(name, page)` at each.
 * Afterwards the password is another one. Nothing in here depends on the language.
 */
export async function everyPage(world, context, look) {
  const page = await context.newPage();
  const at = async (name, url) => {
    if (url) await page.goto(url);
    await look(name, page);
  };
  await at("home", SITE);
  await at("login", `${SITE}/login`);

  // This browser has asked for no code.
  await at("code missing", SITE + TYPE);
  await at("ask", SITE + ASK);
  const before = (await world.mails(0)).length;
  await page.locator("#identifier").fill(ADA);
  await page.locator("main form button").first().click();
  await page.waitForURL(SITE + SENT);
  await at("sent");
  const first = (await world.mails(before + 1)).at(-1).links[0];
  const second = await world.ask();
  const code = await world.askForCode(page);
  await at("code");
  await typeCode(page, mistyped(code));
  await at("code refused");
  await at("mailbox", `${SITE}/dev/mailbox`);
  await at("activity", `${SITE}/dev/activity`);

  // This browser has opened no link; then one that is none.
  await at("link missing", SITE + CHOOSE);
  await at("dead", `${SITE}${CHOOSE}?token=${NO_TOKEN}`);
  await at("dead cancel", `${SITE}${CANCEL}?token=${NO_TOKEN}`);

  await world.click(page, first);
  await at("choose");
  await choose(page, REFUSED);
  await at("refused");
  // The form of the first link, after the second was opened in another tab.
  const tab = await context.newPage();
  await world.click(tab, second);
  await choose(page, NEW);
  await at("problem");
  await choose(tab, `${NEW} ${before}`);
  await tab.close();
  await at("done", SITE + DONE);

  // An account with a second factor.
  await world.click(page, (await world.letter("hedy@example.com")).links[0]);
  await at("factor");
  await page.locator("#response").fill("no code");
  await page.locator("main form button").click();
  await page.getByRole("alert").waitFor();
  await at("factor refused");

  // Of another account each time: no mail comes to this one for a while.
  const letter = await world.letter(`user-${walks++}@example.com`);
  await world.click(page, letter.cancel_links[0]);
  await at("cancel");
  await page.locator("main form button").click();
  await page.waitForURL(SITE + CANCELLED);
  await at("cancelled");

  if (WORK_SITE) {
    await at("work", WORK_SITE + ASK);
    // Past the script, as from who has none: it comes back.
    await leadsOn(page, () => page.evaluate(() => {
      document.getElementById("identifier").value = "ada@example.com";
      document.forms[0].submit();
    }));
    await page.getByRole("alert").waitFor();
    await at("work again");
  }
  await page.close();
}
