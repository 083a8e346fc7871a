// A code that is typed, with JavaScript and without.

import assert from "node:assert/strict";
import { areSilent, ownRequests, searcher } from "./traces.mjs";
import {
  ADA, ASK, CHOOSE, DONE, NEW, OLD, SENT, SITE, TYPE, choose, leadsOn, mistyped, test, title, typeCode,
} from "./world.mjs";

const OTHER = "another harbour at dusk";

await test(async (world) => {
  const elsewhere = await (await world.context()).newPage();
  assert(await world.logIn(elsewhere, OLD));

  // The Enter key means the first button, which asks for a link; the second one asks for a code.
  const context = await world.context();
  const page = await context.newPage();
  await page.goto(SITE + ASK);
  assert.deepEqual(await page.getByRole("button").allInnerTexts(), [
    "Mail me a link",
    "Mail me a code instead",
  ]);
  await page.getByLabel("E-mail").fill(ADA);
  await leadsOn(page, () => page.getByLabel("E-mail").press("Enter"));
  assert.equal(page.url(), SITE + SENT);
  await world.mails(1);

  const code = await world.askForCode(page);
  assert.match(code, /^\d{4} \d{4}$/);
  assert.equal(await title(page), "Enter your code");
  const field = page.getByLabel("Code");
  for (const [name, value] of Object.entries({
    autocomplete: "one-time-code",
    autocapitalize: "none",
    inputmode: "numeric",
    spellcheck: "false",
    required: "",
  })) {
    assert.equal(await field.getAttribute(name), value, name);
  }
  await page.waitForFunction(() => document.activeElement.id === "code");
  const [mail] = await world.mails(1, "reset_code");
  assert.deepEqual([mail.to, mail.links], [ADA, []]);

  const cookie = async (name) =>
    (await context.cookies()).find((found) => found.name === name)?.value;
  const handle = await cookie("password-reset-code");
  assert.equal(handle.length, 22);
  const secrets = [handle, code, code.replace(" ", "")];
  const look = await searcher(page, secrets);
  await look();

  // A wrong one: the form is there again, empty, and says so.
  await typeCode(page, mistyped(code));
  assert.equal(page.url(), SITE + TYPE);
  assert.match(await page.getByRole("alert").innerText(), /^This code is not right/);
  assert.equal(await field.inputValue(), "");
  assert.equal(await field.getAttribute("aria-invalid"), "true");
  await look();

  await typeCode(page, ` ${code} `);
  assert.equal(page.url(), SITE + CHOOSE);
  assert.equal(await cookie("password-reset-code"), undefined);
  const token = await cookie("password-reset");
  assert.equal(token.length, 64);
  secrets.push(token);
  await look();
  await choose(page, NEW);
  await page.waitForURL(SITE + DONE);
  await look();
  assert.deepEqual(await context.cookies(), []);
  await areSilent(ownRequests(world), secrets);

  await elsewhere.goto(SITE);
  assert.equal(await elsewhere.getByText("You are not logged in").count(), 1);
  assert(!(await world.logIn(elsewhere, OLD)), "the old password");
  assert(await world.logIn(elsewhere, NEW), "the new password");
  // The page for a code is for whoever has asked for one.
  await page.goto(SITE + TYPE);
  assert.equal(await title(page), "Ask for a code again");
  await page.getByRole("link", { name: "Ask again" }).click();
  await page.waitForURL(SITE + ASK);

  const plain = await (await world.context({ javaScriptEnabled: false })).newPage();
  const second = await world.askForCode(plain);
  await typeCode(plain, mistyped(second));
  assert.equal(await plain.getByRole("alert").count(), 1);
  await typeCode(plain, second);
  assert.equal(plain.url(), SITE + CHOOSE);
  await choose(plain, OTHER);
  await plain.waitForURL(SITE + DONE);
  assert(await world.logIn(plain, OTHER));
});
