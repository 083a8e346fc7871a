// Pages speak the language of the browser.

import assert from "node:assert/strict";
import { ASK, test, SITE, title } from "./world.mjs";
import { everyPage } from "./pages.mjs";

// In English whatever the language: the demo's own pages.
const OWN = ["home", "login", "mailbox", "activity"];

await test(async (world) => {
  for (const [locale, heading] of [
    ["de-AT", "Passwort vergessen?"],
    ["fr", "Mot de passe oublié\u202f?"],
    ["es", "¿Olvidó su contraseña?"],
    ["pt-BR", "Esqueceu a senha?"],
    ["ja", "パスワードをお忘れですか？"],
    ["en-GB", "Forgot your password?"],
    ["tlh", "Forgot your password?"],
  ]) {
    const context = await world.context({ locale });
    const page = await context.newPage();
    await page.goto(SITE + ASK);
    assert.equal(await title(page), heading);
    const lang = locale === "tlh" ? "en" : locale.slice(0, 2);
    assert.equal(await page.locator("html").getAttribute("lang"), lang);
    await context.close();
  }

  const headings = new Set();
  await everyPage(world, await world.context({ locale: "de" }), async (name, page) => {
    const lang = await page.locator("html").getAttribute("lang");
    assert.equal(lang, OWN.includes(name) ? "en" : "de", name);
    if (!OWN.includes(name)) headings.add(await title(page));
  });
  assert.equal(headings.size, 12, [...headings].join());
});
