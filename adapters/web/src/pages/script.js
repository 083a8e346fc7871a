// Shows the password on demand, and says how far it is. Everything works without this: the server
// judges. Nothing leaves the page.
"use strict";
(() => {
  const password = document.getElementById("password");
  const meter = document.getElementById("meter");
  const show = document.getElementById("show");
  const form = password.form;
  const min = password.minLength;
  const max = Number(meter.dataset.max);

  show.closest("p").hidden = false;
  show.addEventListener("change", () => {
    password.type = show.checked ? "text" : "password";
  });

  const counted = (n, one, other) => (n === 1 ? one : other).replace("{n}", n);

  // What the server refuses as a pattern, whatever its length: a sequence, and one short piece over
  // and over. Upper and lower case are the same here.
  const follows = (a, b) =>
    ["90", "za"].includes(a + b) || a.codePointAt(0) + 1 === b.codePointAt(0);
  const isPattern = (letters) => {
    const lower = letters.flatMap((letter) => [...letter.toLowerCase()]);
    const all = (rule, gap) => lower.slice(gap).every((letter, at) => rule(lower[at], letter));
    const pieces = [1, 2, 3, 4, 5, 6, 7, 8].filter((piece) => piece <= lower.length / 2);
    return all(follows, 1) || all((a, b) => follows(b, a), 1)
      || pieces.some((piece) => all((a, b) => a === b, piece));
  };

  // As the server counts: code points of the normalised text.
  const judge = () => {
    const text = meter.dataset;
    const letters = [...password.value.normalize("NFC")];
    const different = new Set(letters).size;
    const missing = min - letters.length;
    const excess = letters.length - max;
    if (letters.length === 0) return ["", ""];
    if (missing > 0) return ["", counted(missing, text.missingOne, text.missing)];
    if (excess > 0) return ["bad", counted(excess, text.excessOne, text.excess)];
    if (different < 6 || isPattern(letters)) return ["bad", text.uniform];
    if (different < 10 || letters.length < min + 5) return ["good", text.enough];
    return ["good", text.strong];
  };

  // A moment after the last key, so that a screen reader does not speak at every one.
  let waiting;
  password.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const [state, words] = judge();
      meter.dataset.state = state;
      meter.textContent = words;
    }, 250);
  });

  // One request, however often the button is pressed; and never a password in plain sight for the
  // browser to remember as ordinary text.
  const button = form.querySelector("button");
  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent) return event.preventDefault();
    sent = true;
    // Until the answer comes, or somebody has stopped the waiting for it.
    setTimeout(() => {
      sent = false;
      button.removeAttribute("aria-disabled");
    }, 8000);
    password.type = "password";
    button.setAttribute("aria-disabled", "true");
  });

  // Nothing that is kept of this page holds a password: not the back-forward cache, and not what a
  // browser fills in again.
  addEventListener("pagehide", () => {
    password.value = "";
  });

  // Out of the back-forward cache comes a page that may be spent: ask the server again.
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.replace(location.pathname);
  });
})();
