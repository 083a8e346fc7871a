// Does the work that the form asks for, before it is sent: finds the number whose SHA-256, behind the
// salt, is the challenge. Nothing leaves the page but the answer, in the form.
"use strict";
(() => {
  const form = document.querySelector("form[data-work]");
  const told = document.getElementById("work");
  const task = JSON.parse(form.dataset.work);
  const field = form.elements.proof;
  const button = form.querySelector("button");
  const bytes = new TextEncoder();

  document.getElementById("scripts").hidden = true;

  const digest = async (number) => {
    const found = await crypto.subtle.digest("SHA-256", bytes.encode(task.salt + number));
    return Array.from(new Uint8Array(found), (byte) => byte.toString(16).padStart(2, "0")).join("");
  };

  // In batches, which the browser computes beside the page: it can be typed into all the while.
  const BATCH = 500;
  const solve = async () => {
    for (let first = 0; first <= task.maxnumber; first += BATCH) {
      const batch = Array.from({ length: BATCH }, (_, at) => digest(first + at));
      const found = (await Promise.all(batch)).indexOf(task.challenge);
      if (found >= 0) return first + found;
    }
    throw new Error("no number fits");
  };

  // Begun when somebody types, so that most have nothing to wait for.
  let solved;
  const start = () => (solved ??= solve().then((number) => {
    const { algorithm, challenge, salt, signature } = task;
    field.value = btoa(JSON.stringify({ algorithm, challenge, number, salt, signature }));
  }));
  form.addEventListener("input", () => start().catch(() => {}), { once: true });

  form.addEventListener("submit", async (event) => {
    if (field.value) return;
    event.preventDefault();
    if (button.getAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    told.textContent = told.dataset.busy;
    try {
      await start();
      // Not while this event is still on its way: browsers send nothing then.
      await new Promise((resolve) => setTimeout(resolve));
      told.textContent = "";
      form.requestSubmit(event.submitter);
    } catch {
      told.textContent = told.dataset.failed;
    }
    button.removeAttribute("aria-disabled");
  });

  // An answer is taken once: a page out of the back-forward cache needs another.
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.replace(location.pathname);
  });
})();
