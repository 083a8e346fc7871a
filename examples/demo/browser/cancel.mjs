// "This wasn't me": a link that shows a button, and a button that cancels.

import assert from "node:assert/strict";
import { areSilent, ownRequests, searcher } from "./traces.mjs";
import {
  ADA, ASK, CANCEL, CANCELLED, CHOOSE, DONE, NEW, OLD, SENT, SITE, choose, leadsOn, request, scan,
  test, title,
} from "./world.mjs";

const OTHERS = ["user-0@example.com", "user-1@example.com"];

/** Presses the button of the page behind the link. */
async function confirm(page) {
  const button = page.getByRole("button", { name: "Cancel links and codes" });
  await leadsOn(page, () => button.click());
}

await test(async (world) => {
  const elsewhere = await (await world.context()).newPage();
  assert(await world.logIn(elsewhere, OLD));
  const letter = await world.letter();
  const [link] = letter.links;
  const [notMe] = letter.cancel_links;
  assert.equal(new URL(notMe).pathname, CANCEL);

  // Whatever opens it cancels nothing, also a browser that looks at the page.
  for (const method of ["GET", "HEAD", "GET", "HEAD"]) {
    for (const cookies of [false, true]) await scan(notMe, method, cookies);
  }
  const scanner = await (await world.context()).newPage();
  for (let times = 0; times < 2; times += 1) await world.click(scanner, notMe);
  assert.equal(await title(scanner), "This was not you?");
  await scanner.context().close();
  const thief = await (await world.context()).newPage();
  await world.click(thief, link);
  assert.equal(await title(thief), "Choose a new password");

  // The owner sees what will happen. After the click the token is nowhere.
  const context = await world.context();
  const page = await context.newPage();
  const token = new URL(notMe).searchParams.get("token");
  assert.equal(token.length, 64);
  const look = await searcher(page, [token]);
  const start = ownRequests(world).length;
  await world.click(page, notMe);
  assert.equal(page.url(), SITE + CANCEL);
  const said = await page.getByRole("main").innerText();
  for (const part of ["links and codes", "24 hours", "cannot set a password"]) {
    assert(said.includes(part), `${part}: ${said}`);
  }
  assert(!said.includes("ada"), said);
  await look();
  await confirm(page);
  assert.equal(page.url(), SITE + CANCELLED);
  assert.equal(await title(page), "Cancelled");
  assert.match(await page.getByRole("status").innerText(), /no longer work/);
  await look();
  assert.deepEqual(await context.cookies(), []);
  const requests = ownRequests(world).slice(start);
  assert.deepEqual([requests[0].method, requests[0].url], ["GET", notMe]);
  await areSilent(requests.slice(1), [token]);

  // The back button may bring back the page as it was. Its token is gone with the cookie.
  await page.goBack({ waitUntil: "commit" });
  await page.locator("h1").waitFor();
  assert.equal(page.url(), SITE + CANCEL);
  if ((await page.locator("form").count()) > 0) await confirm(page);
  assert.equal(await title(page), "Open your link again");
  assert.equal(await page.locator("form").count(), 0);

  // The other link of the mail is dead, also where it is open; nobody was logged out.
  await choose(thief, NEW);
  assert.equal(thief.url(), SITE + CHOOSE);
  assert.equal(await title(thief), "This link does not work");
  await world.click(page, link);
  assert.equal(await title(page), "This link does not work");
  await elsewhere.goto(SITE);
  assert.equal(await elsewhere.getByText("You are logged in as").count(), 1);

  // Whoever asks again gets the usual answer, and nobody gets a mail.
  await page.goto(SITE + ASK);
  await page.locator("#identifier").fill(ADA);
  await leadsOn(page, () => page.getByRole("button", { name: "Mail me a link" }).click());
  assert.equal(page.url(), SITE + SENT);
  assert.equal(await title(page), "Check your mail");
  const answers = [];
  for (const identifier of [ADA, "nobody@example.com"]) {
    const { status, headers } = await request({ identifier });
    answers.push([status, [...headers].filter(([name]) => name !== "date")]);
  }
  assert.deepEqual(answers[0], answers[1]);
  await request({ identifier: ADA, method: "code" });

  // The notice of a change has the link too. What was changed stays so.
  const [owner, other] = OTHERS;
  await world.click(page, (await world.letter(owner)).links[0]);
  await choose(page, NEW);
  await page.waitForURL(SITE + DONE);
  const [notice] = await world.mails(1, "password_changed");
  assert.deepEqual([notice.to, notice.links], [owner, []]);
  await world.click(page, notice.cancel_links[0]);
  await confirm(page);
  assert.equal(page.url(), SITE + CANCELLED);
  assert(await world.logIn(page, NEW, owner));
  await request({ identifier: owner });

  // With JavaScript off; and once more from the same mail.
  const plain = await (await world.context({ javaScriptEnabled: false })).newPage();
  const last = await world.letter(other);
  for (let times = 0; times < 2; times += 1) {
    await world.click(plain, last.cancel_links[0]);
    await confirm(plain);
    assert.equal(plain.url(), SITE + CANCELLED);
  }
  await world.click(plain, last.links[0]);
  assert.equal(await title(plain), "This link does not work");

  // One mail each, of before the pause. What was asked for during it came before the last one.
  assert.deepEqual((await world.mails(0)).map((mail) => mail.to), [ADA, owner, other]);
  assert.deepEqual(await world.mails(0, "reset_code"), []);
});
