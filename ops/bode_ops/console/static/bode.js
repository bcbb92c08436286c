// Refreshes the part of a page that changes. Without this script every page works with a normal reload.
"use strict";

(() => {
  const EVERY = 4000;
  const area = document.querySelector("[data-live]");
  const bar = document.querySelector(".live");
  if (!area || !bar) return;

  let last = "";
  let paused = false;
  let timer = 0;

  const note = document.createElement("span");
  const button = document.createElement("button");
  button.type = "button";
  button.addEventListener("click", () => {
    paused = !paused;
    say();
    if (!paused) refresh();
  });
  bar.replaceChildren(button, " ", note);

  function say(trouble) {
    button.textContent = paused ? "Weer bijwerken" : "Bijwerken pauzeren";
    note.textContent = trouble || (paused ? "Deze pagina wordt niet bijgewerkt." : "Deze pagina werkt zichzelf bij.");
  }

  // What a reader is busy with is left alone: a selection, or an open part.
  function selecting() {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && area.contains(selection.anchorNode);
  }

  function replace(text) {
    const active = area.contains(document.activeElement) ? document.activeElement : null;
    const href = active && active.getAttribute("href");
    const open = [...area.querySelectorAll("details[open]")].map((item) => item.id);
    const fresh = new DOMParser().parseFromString(text, "text/html");
    area.replaceChildren(...fresh.body.childNodes);
    for (const id of open) {
      const item = document.getElementById(id);
      if (item) item.open = true;
    }
    if (href) {
      const again = [...area.querySelectorAll("a[href]")].find((item) => item.getAttribute("href") === href);
      if (again) again.focus({ preventScroll: true });
    } else if (active && active.closest("summary")) {
      const summary = area.querySelector("details summary");
      if (summary) summary.focus({ preventScroll: true });
    }
  }

  async function refresh() {
    clearTimeout(timer);
    if (paused || document.hidden) return;
    try {
      const answer = await fetch(area.dataset.live, { cache: "no-store", credentials: "same-origin" });
      if (!answer.ok) throw new Error(String(answer.status));
      const text = await answer.text();
      if (text !== last && !selecting() && !paused) {
        if (last) replace(text);
        last = text;
      }
      say();
    } catch {
      say("Bijwerken lukt nu niet. Wij proberen het opnieuw.");
    }
    timer = setTimeout(refresh, EVERY);
  }

  document.addEventListener("visibilitychange", refresh);
  say();
  refresh();
})();
