// Lets htmx refresh the part of a page that changes, every few seconds while somebody can see it. Nothing needs this.
"use strict";

(() => {
  const EVERY = 4000;
  const area = document.querySelector("[data-live]");
  const bar = document.querySelector("[data-live-bar]");
  if (!area || !bar || typeof htmx === "undefined") return;

  let paused = false;
  let trouble = false;
  const note = document.createElement("span");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "utrecht-button utrecht-button--secondary-action";
  button.addEventListener("click", () => {
    paused = !paused;
    say();
    if (!paused) refresh();
  });
  bar.replaceChildren(button, " ", note);

  function say() {
    button.textContent = paused ? "Weer bijwerken" : "Bijwerken pauzeren";
    note.textContent = paused
      ? "Deze pagina wordt niet bijgewerkt."
      : trouble
        ? "Bijwerken lukt nu niet. Wij proberen het opnieuw."
        : "Deze pagina werkt zichzelf bij.";
  }

  // What a reader is busy with is left alone: a selection.
  function selecting() {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && area.contains(selection.anchorNode);
  }

  function refresh() {
    if (!paused && !document.hidden && !selecting()) htmx.trigger(area, "ververs");
  }

  let kept = { open: [], href: null, summary: null };
  area.addEventListener("htmx:beforeSwap", () => {
    const active = area.contains(document.activeElement) ? document.activeElement : null;
    kept = {
      open: [...area.querySelectorAll("details[open]")].map((item) => item.id),
      href: active && active.getAttribute("href"),
      summary: active && active.closest("summary") ? active.parentElement.id : null,
    };
  });
  area.addEventListener("htmx:afterSwap", () => {
    for (const id of kept.open) {
      const item = document.getElementById(id);
      if (item) item.open = true;
    }
    const again = kept.href
      ? [...area.querySelectorAll("a[href]")].find((item) => item.getAttribute("href") === kept.href)
      : kept.summary && document.getElementById(kept.summary)?.querySelector("summary");
    if (again) again.focus({ preventScroll: true });
    trouble = false;
    say();
  });
  for (const name of ["htmx:responseError", "htmx:sendError"]) {
    area.addEventListener(name, () => {
      trouble = true;
      say();
    });
  }

  document.addEventListener("visibilitychange", refresh);
  setInterval(refresh, EVERY);
  say();
})();
