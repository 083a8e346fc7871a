// A browser, the demo that the test has started, and a watch over both. Every script begins here.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

/** The demo's address. */
export const SITE = process.env.DEMO_SITE;
/** Where it listens itself, if there is a proxy in front. */
export const BACKEND = process.env.DEMO_BACKEND ?? SITE;
/** That of a second one, which asks everybody for work. */
export const WORK_SITE = process.env.DEMO_WORK_SITE;
/** Whose password it is, and what it is at the start. */
export const ADA = "ada@example.com";
export const OLD = process.env.DEMO_PASSWORD;
export const NEW = "a quiet harbour at dawn";
/** Long enough for the form, and refused by the server. */
export const REFUSED = "aaaaaaaaaaaaaaaaaaaa";

export const ASK = "/forgot-password";
export const SENT = "/forgot-password/sent";
export const TYPE = "/forgot-password/code";
export const CHOOSE = "/reset-password";
export const DONE = "/reset-password/done";
export const CANCEL = "/reset-password/not-me";
export const CANCELLED = "/reset-password/not-me/done";

const PATIENCE = 30_000;

/**
 * Runs the steps of a test in a browser with a fresh profile. Afterwards no page may have loaded
 * anything from another site, broken the policy of its header lines, or complained.
 */
export async function test(steps) {
  // A browser that hangs must not hang the tests.
  const hangs = () => {
    console.error("it hangs");
    process.exit(1);
  };
  setTimeout(hangs, 240_000).unref();
  const browser = await chromium.launch(launch());
  const world = new World(browser);
  try {
    await steps(world);
    assert.deepEqual(world.faults(), [], "what the watch saw");
  } catch (error) {
    console.error(error);
    console.error("the watch saw:", world.faults());
    process.exitCode = 1;
  } finally {
    world.mailServer?.close();
    await browser.close();
  }
}

/** How the browser is started: the machine's own, never one that Playwright has downloaded. */
export function launch() {
  return {
    executablePath: process.env.PASSWORD_RESET_TEST_CHROMIUM || "/usr/bin/chromium",
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      // Whatever asks for another machine's name gets no answer.
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    ],
    // People's browsers have this cache.
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
  };
}

export class World {
  /** Every request: `{ method, url, kind, headers }`; the header lines as they were sent. */
  requests = [];
  /** Origins of other sites that a test has made itself. */
  others = new Set([WORK_SITE]);
  #complaints = [];
  #refused = new Set();
  #newest = "";

  constructor(browser) {
    this.browser = browser;
  }

  /** A browser of its own: cookies, storage, history. */
  async context(options = {}) {
    return this.watch(await this.browser.newContext({ locale: "en", ...options }));
  }

  watch(context) {
    context.setDefaultTimeout(PATIENCE);
    context.on("request", (request) => {
      const seen = { method: request.method(), url: request.url(), kind: request.resourceType() };
      this.requests.push(seen);
      seen.headers = request.allHeaders().catch(() => request.headers());
    });
    context.on("response", (response) => {
      // The page of a problem comes with the problem's status, and Chromium complains of it.
      if (response.request().isNavigationRequest()) this.#refused.add(response.url());
    });
    context.on("console", (message) => {
      const status = message.text().startsWith("Failed to load resource: the server responded");
      if (status && this.#refused.has(message.location().url)) return;
      // Violations of the policy are among them.
      if (["error", "warning"].includes(message.type())) this.#complaints.push(message.text());
    });
    context.on("weberror", (error) => this.#complaints.push(String(error.error())));
    context.on("serviceworker", (worker) => this.#complaints.push(`a worker: ${worker.url()}`));
    return context;
  }

  /** What no page may do. */
  faults() {
    const own = (url) => ["data:", "about:"].some((start) => url.startsWith(start))
      || new URL(url).origin === SITE || url === this.mailPage
      || this.others.has(new URL(url).origin);
    const away = this.requests.filter(({ url }) => !own(url));
    return [...away.map(({ url }) => `a request to ${url}`), ...this.#complaints];
  }

  /** For a test of the watch itself. */
  forget() {
    this.requests = [];
    this.#complaints = [];
  }

  /** All mails of one kind, once there are so many. */
  async mails(count, kind = "reset_link") {
    for (const end = Date.now() + PATIENCE; ; ) {
      const all = await (await fetch(`${BACKEND}/dev/mailbox.json`)).json();
      const mails = all.filter((mail) => mail.kind === kind);
      if (mails.length >= count) return mails;
      assert(Date.now() < end, `${mails.length} mails of ${count}, ${kind}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Asks for a link, without the browser; answers the mail. */
  async letter(identifier = ADA) {
    const before = await this.mails(0);
    await request({ identifier });
    return (await this.mails(before.length + 1)).at(-1);
  }

  /** The same; answers the link. */
  async ask() {
    return (await this.letter()).links[0];
  }

  /** Asks for a code on the page, which then is the one to type it on; answers the code. */
  async askForCode(page) {
    const before = await this.mails(0, "reset_code");
    await page.goto(SITE + ASK);
    await page.locator("#identifier").fill(ADA);
    await page.locator("button[value=code]").click();
    await page.waitForURL(SITE + TYPE);
    return (await this.mails(before.length + 1, "reset_code")).at(-1).codes[0];
  }

  /** Clicks the link in a mail program, which is another site. */
  async click(page, link) {
    this.#newest = link;
    this.mailPage ??= await this.#startMailProgram();
    await page.goto(this.mailPage);
    await page.getByRole("link").click();
    await page.waitForURL(SITE + new URL(link).pathname);
  }

  async #startMailProgram() {
    this.mailServer = createServer((request, response) => {
      response.setHeader("Content-Type", "text/html; charset=utf-8");
      response.end(`<title>Mail</title><a href="${this.#newest}">The link</a>`);
    });
    await new Promise((resolve) => this.mailServer.listen(0, "127.0.0.1", resolve));
    this.mailServer.unref();
    return `http://localhost:${this.mailServer.address().port}/`;
  }

  /** Logs in; answers whether that worked. */
  async logIn(page, password, who = ADA) {
    await page.goto(`${SITE}/login`);
    await page.getByLabel("E-mail address").fill(who);
    await page.getByLabel("Password").fill(password);
    await leadsOn(page, () => page.getByRole("button", { name: "Log in" }).click());
    return (await page.getByText("You are logged in as").count()) === 1;
  }
}

/** Sends the form of the page that asks whose password it is, without the browser. */
export async function request(fields) {
  const body = new URLSearchParams(fields);
  return fetch(BACKEND + ASK, { method: "POST", body, redirect: "manual" });
}

/** Follows a link without a browser, with or without the cookie that it is given. */
export async function scan(link, method, cookies) {
  const first = await fetch(link, { method, redirect: "manual" });
  assert.equal(first.status, 303);
  const cookie = first.headers.get("set-cookie").split(";")[0];
  const next = new URL(first.headers.get("location"), SITE);
  const second = await fetch(next, { method, headers: cookies ? { cookie } : {} });
  assert.equal(second.status, cookies ? 200 : 404);
}

/** Fills in the form and sends it. */
export async function choose(page, password) {
  await page.locator("#password").fill(password);
  await leadsOn(page, () => page.locator("main form button").click());
}

/** Types the code and sends it. */
export async function typeCode(page, code) {
  await page.locator("#code").fill(code);
  await leadsOn(page, () => page.locator("main form button").click());
}

/** Another code, as long as this one. */
export function mistyped(code) {
  return code.replace(/\d/g, (digit) => (Number(digit) + 1) % 10);
}

/** Does something that leads to another page, or to the same one anew, and waits until it is there. */
export async function leadsOn(page, act) {
  const drawn = page.waitForEvent("domcontentloaded");
  await act();
  await drawn;
  await page.waitForLoadState();
}

export async function title(page) {
  return page.locator("h1").innerText();
}
