// The whole way with the keyboard alone; what a screen reader is told on it.

import assert from "node:assert/strict";
import {
  ADA, ASK, CHOOSE, DONE, NEW, OLD, REFUSED, SENT, SITE, TYPE, leadsOn, mistyped, test,
} from "./world.mjs";

await test(async (world) => {
  const page = await (await world.context()).newPage();
  const devtools = await page.context().newCDPSession(page);

  /** What has the focus, as a screen reader says it. */
  const focused = async () => {
    const { nodes } = await devtools.send("Accessibility.getFullAXTree");
    const value = (node, name) => node.properties?.find((found) => found.name === name)?.value.value;
    const node = nodes.findLast((node) => value(node, "focused"));
    return {
      role: node.role.value,
      name: node.name.value,
      description: node.description?.value ?? "",
      invalid: value(node, "invalid"),
      required: value(node, "required"),
    };
  };
  const at = async (role, name) => {
    let found = await focused();
    // A page moves the focus when it is drawn.
    for (let tries = 0; tries < 50 && found.name !== name; tries += 1) {
      await page.waitForTimeout(20);
      found = await focused();
    }
    assert.deepEqual([found.role, found.name], [role, name]);
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(outline, "solid", `${name} shows that it has the focus`);
    return found;
  };
  const press = (key) => page.keyboard.press(key);
  const pressAndWait = async (key, path) => {
    await leadsOn(page, () => press(key));
    assert.equal(page.url(), SITE + path);
  };

  await page.goto(SITE + ASK);
  assert((await at("textbox", "E-mail address")).required);
  await page.keyboard.type(ADA);
  await press("Tab");
  await at("button", "Mail me a link");
  await pressAndWait("Enter", SENT);
  assert.match(await page.getByRole("status").innerText(), /./);
  await press("Tab");
  await at("link", "Ask again");

  await world.click(page, (await world.mails(1))[0].links[0]);
  const field = await at("textbox", "New password");
  assert.match(field.description, /^At least 15 characters/);
  assert(field.required && field.invalid !== "true");
  await page.keyboard.type(REFUSED);
  // What the script says is announced when the keys rest, and is part of what the field is.
  const meter = page.locator("#meter");
  assert.equal(await meter.getAttribute("aria-live"), "polite");
  await page.waitForFunction(() => document.querySelector("#meter").textContent);
  assert.match((await focused()).description, /too simple$/);
  await press("Tab");
  await at("checkbox", "Show password");
  await press("Space");
  assert.equal(await page.locator("#password").getAttribute("type"), "text");
  await press("Space");
  assert.equal(await page.locator("#password").getAttribute("type"), "password");
  await press("Tab");
  await at("button", "Set password");
  await pressAndWait("Space", CHOOSE);

  // Refused: announced, and the focus is where it can be mended.
  assert.match(await page.getByRole("alert").innerText(), /^This password cannot be used\./);
  const wrong = await at("textbox", "New password");
  assert.equal(wrong.invalid, "true");
  assert.match(wrong.description, /^This password cannot be used\..*At least 15 characters/s);
  await page.keyboard.type(NEW);
  await pressAndWait("Enter", DONE);
  assert.match(await page.getByRole("status").innerText(), /logged out everywhere/);
  await press("Tab");
  await at("link", "Log in");
  await pressAndWait("Enter", "/login");

  await at("textbox", "E-mail address");
  await page.keyboard.type(ADA);
  await press("Tab");
  await at("textbox", "Password");
  await page.keyboard.type(OLD);
  await pressAndWait("Enter", "/login");
  assert.equal(await page.getByRole("alert").count(), 1);

  // With a code.
  await page.goto(SITE + ASK);
  await at("textbox", "E-mail address");
  await page.keyboard.type(ADA);
  await press("Tab");
  await at("button", "Mail me a link");
  await press("Tab");
  await at("button", "Mail me a code instead");
  await pressAndWait("Space", TYPE);
  assert.match(await page.getByRole("status").innerText(), /a code is on its way/);
  const code = (await world.mails(1, "reset_code"))[0].codes[0];
  const empty = await at("textbox", "Code");
  assert.match(empty.description, /^8 digits; spaces do not matter/);
  assert(empty.required && empty.invalid !== "true");
  await page.keyboard.type(mistyped(code));
  await press("Tab");
  await at("button", "Continue");
  await pressAndWait("Enter", TYPE);
  assert.match(await page.getByRole("alert").innerText(), /^This code is not right/);
  const again = await at("textbox", "Code");
  assert.equal(again.invalid, "true");
  assert.match(again.description, /^This code is not right.*8 digits/s);
  await page.keyboard.type(code);
  await pressAndWait("Enter", CHOOSE);
  await at("textbox", "New password");
});
