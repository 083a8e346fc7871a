// Over https, as in production: behind a proxy that ends TLS. The cookie is the host's own, the whole
// way works, and other sites' pages change nothing while the victim's cookie is there.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import http from "node:http";
import https from "node:https";
import {
  ADA, ASK, BACKEND, CHOOSE, DONE, NEW, OLD, SENT, SITE, choose, leadsOn, test, title,
} from "./world.mjs";

const COOKIE = "__Host-password-reset";

/** A key and its certificate, signed by itself, which nobody keeps. */
function certificate() {
  const how = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
  const whose = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  const options = { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] };
  const pem = execFileSync("openssl", [...how.split(" "), ...whose, "-keyout", "-", "-out", "-"], options);
  return { key: pem, cert: pem };
}

/** Hands everything on, and says for whom. */
function proxy(request, response) {
  const { method, url: path, socket } = request;
  const before = request.headers["x-forwarded-for"];
  const client = [before, socket.remoteAddress].filter(Boolean).join(", ");
  const headers = { ...request.headers, "x-forwarded-for": client };
  const onward = http.request(BACKEND + path, { method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on("error", () => response.destroy());
  request.pipe(onward);
}

/** A page that sends a form to the demo by itself; what it sends is in its own address. */
function evil(request, response) {
  const { pathname, searchParams } = new URL(request.url, SITE);
  const escaped = (text) => text.replace(/[&"<]/g, (letter) => `&#${letter.charCodeAt()};`);
  const fields = [...searchParams].map(([name, value]) =>
    `<input type="hidden" name="${escaped(name)}" value="${escaped(value)}">`);
  response.setHeader("Content-Type", "text/html; charset=utf-8");
  response.end(`<title>A prize</title><link rel="icon" href="data:,">
    <form method="post" action="${SITE}${pathname}">${fields.join("")}</form>
    <script>document.forms[0].submit()</script>`);
}

async function listen(server, port = 0) {
  await new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  server.unref();
  return server.address().port;
}

await test(async (world) => {
  const tls = certificate();
  await listen(https.createServer(tls, proxy), Number(new URL(SITE).port));
  // Another site altogether; and another port of the same host, which shares its cookies.
  const others = [
    `http://127.0.0.1:${await listen(http.createServer(evil))}`,
    `https://localhost:${await listen(https.createServer(tls, evil))}`,
  ];
  others.forEach((origin) => world.others.add(origin));

  const context = await world.context({ ignoreHTTPSErrors: true });
  const bare = [];
  context.on("response", async (response) => {
    if (!response.url().startsWith(SITE)) return;
    const hsts = response.headers()["strict-transport-security"];
    if (!/^max-age=\d{8,}/.test(hsts ?? "")) bare.push(response.url());
  });
  const elsewhere = await (await world.context({ ignoreHTTPSErrors: true })).newPage();
  assert(await world.logIn(elsewhere, OLD));

  const page = await context.newPage();
  await page.goto(SITE + ASK);
  await page.getByLabel("E-mail").fill(ADA);
  await leadsOn(page, () => page.getByRole("button", { name: "Mail me a link" }).click());
  assert.equal(page.url(), SITE + SENT);
  const [{ links: [link] }] = await world.mails(1);
  assert(link.startsWith(`${SITE}${CHOOSE}?token=`), link);
  await world.click(page, link);
  assert.equal(await title(page), "Choose a new password");

  const held = async () => (await context.cookies()).filter(({ name }) => name.includes("reset"));
  const [{ value, expires, ...cookie }, ...more] = await held();
  assert.deepEqual(more, []);
  assert.deepEqual(cookie, {
    name: COOKIE, domain: "localhost", path: "/", httpOnly: true, secure: true, sameSite: "Lax",
  });
  assert.equal(value, new URL(link).searchParams.get("token"));
  assert(expires > Date.now() / 1000 && expires < Date.now() / 1000 + 1_801);
  assert.equal(await page.evaluate(() => document.cookie), "");

  // They even know the hidden field, which is in no address and on no other page.
  const form = await page.locator("[name=form]").inputValue();
  const seen = [];
  for (const origin of others) {
    for (const [path, fields] of [
      [CHOOSE, { form, password: "a password of the thief" }],
      [ASK, { identifier: ADA }],
    ]) {
      const tab = await context.newPage();
      const posted = tab.waitForResponse((response) => response.request().method() === "POST");
      await tab.goto(`${origin}${path}?${new URLSearchParams(fields)}`, { waitUntil: "commit" });
      const answer = await posted;
      assert.equal(answer.url(), SITE + path);
      assert.equal(answer.status(), 403, `${origin} ${path}`);
      await tab.getByText("The request came from another site").waitFor();
      const sent = await answer.request().allHeaders();
      assert.equal(sent.origin, origin);
      seen.push([sent["sec-fetch-site"], (sent.cookie ?? "").includes(COOKIE)]);
      await tab.close();
    }
  }
  // From another site no cookie comes along at all; from another port it does, and is no help.
  const [other, port] = [["cross-site", false], ["same-site", true]];
  assert.deepEqual(seen, [other, other, port, port]);

  // Nothing was changed, nobody was mailed, and the victim's own page is as good as before.
  assert.deepEqual((await held()).map((kept) => kept.value), [value]);
  assert.equal((await world.mails(1)).length, 1);
  assert(await world.logIn(elsewhere, OLD), "the old password");
  await choose(page, NEW);
  assert.equal(page.url(), SITE + DONE);
  assert.deepEqual(await held(), []);
  await elsewhere.goto(SITE);
  assert.equal(await elsewhere.getByText("You are not logged in").count(), 1);
  assert(!(await world.logIn(page, OLD)), "the old password");
  assert(!(await world.logIn(page, "a password of the thief")), "the thief's password");
  assert(await world.logIn(page, NEW), "the new password");
  assert.deepEqual(bare, [], "without Strict-Transport-Security");
});
