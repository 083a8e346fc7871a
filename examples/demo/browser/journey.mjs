// From the forgotten password to the new one; the old one and every other session are out.

import assert from "node:assert/strict";
import { ADA, ASK, DONE, NEW, OLD, REFUSED, SENT, SITE, choose, test, title } from "./world.mjs";

await test(async (world) => {
  const elsewhere = await (await world.context()).newPage();
  assert(await world.logIn(elsewhere, OLD));

  const page = await (await world.context()).newPage();
  await page.goto(SITE);
  await page.getByRole("link", { name: "Forgot your password?" }).click();
  await page.waitForURL(SITE + ASK);
  await page.getByLabel("E-mail").fill(ADA);
  await page.getByRole("button", { name: "Mail me a link" }).click();
  await page.waitForURL(SITE + SENT);
  assert.equal(await title(page), "Check your mail");

  const [mail] = await world.mails(1);
  assert.equal(mail.to, ADA);
  await world.click(page, mail.links[0]);
  assert.equal(await title(page), "Choose a new password");
  await choose(page, REFUSED);
  assert.match(await page.getByRole("alert").innerText(), /cannot be used/);
  await choose(page, NEW);
  await page.waitForURL(SITE + DONE);
  assert.equal(await title(page), "Your password is changed");

  await elsewhere.goto(SITE);
  assert.equal(await elsewhere.getByText("You are not logged in").count(), 1);
  await page.getByRole("link", { name: "Log in" }).click();
  await page.waitForURL(`${SITE}/login`);
  assert(!(await world.logIn(page, OLD)), "the old password");
  assert(await world.logIn(page, NEW), "the new password");
});
