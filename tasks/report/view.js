// Of the browser for datasets: keys, what is known of a change, and marks. Nothing here is fetched from anywhere.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const typing = (event) => event.target.closest("input, select, textarea");

  // Changes of a document: one number on both sides. Only the chosen one is reached by Tab; j and k move.
  const data = byId("edits");
  const edits = data ? JSON.parse(data.textContent) : {};
  const parts = new Map();
  for (const part of all("#pair [data-e]")) {
    const number = part.dataset.e;
    if (!parts.has(number)) parts.set(number, []);
    parts.get(number).push(part);
    part.tabIndex = -1;
    part.setAttribute("role", "button");
    for (const edit of edits[number] ?? []) if (edit.verdict) part.classList.add(edit.verdict);
  }
  const shown = () => [...parts.keys()].filter((number) => !parts.get(number)[0].classList.contains("off"));
  let chosen = null;
  let edit = null;

  const panel = byId("panel");
  const form = panel?.querySelector("form");
  const tip = byId("tip");

  function tell(one) {
    edit = one;
    byId("about").textContent = one.about + (one.verdict ? `\nMarked as ${one.verdict}.` : "");
    byId("what").textContent = `${one.before || "(nothing)"} → ${one.after || "(nothing)"}`;
    form.elements.stage.value = one.stage;
    form.elements.number.value = one.number;
    form.elements.note.value = one.note;
    byId("undo").hidden = !one.verdict;
  }

  function choose(number, { scroll = true, open = true } = {}) {
    for (const part of parts.get(chosen) ?? []) { part.classList.remove("on"); part.tabIndex = -1; part.removeAttribute("aria-pressed"); }
    chosen = number;
    const of = parts.get(number);
    for (const part of of) { part.classList.add("on"); part.setAttribute("aria-pressed", "true"); }
    of[0].tabIndex = 0;
    of[0].focus({ preventScroll: true });
    if (scroll) of[0].scrollIntoView({ block: "center" });
    const known = edits[number];
    if (!open || !known?.length) return;
    const which = byId("which");
    which.replaceChildren(...known.map((one, n) => new Option(`${one.about.split("\n")[0]}: ${one.before} → ${one.after}${one.verdict ? ` (${one.verdict})` : ""}`, n)));
    byId("several").hidden = known.length < 2;
    const marked = known.findIndex((one) => one.verdict);
    which.value = String(Math.max(marked, 0));
    tell(known[Math.max(marked, 0)]);
    panel.hidden = false;
    tip.hidden = true;
    history.replaceState(null, "", `#e${number}`);
  }

  function close() {
    if (!panel || panel.hidden) return;
    panel.hidden = true;
    parts.get(chosen)?.[0].focus();
  }

  function move(by) {
    const numbers = shown();
    if (!numbers.length) return;
    const at = numbers.indexOf(chosen);
    choose(numbers[at < 0 ? (by > 0 ? 0 : numbers.length - 1) : (at + by + numbers.length) % numbers.length]);
  }

  if (parts.size) {
    parts.values().next().value[0].tabIndex = 0;
    const pair = byId("pair");
    pair.addEventListener("click", (event) => {
      const part = event.target.closest("[data-e]");
      if (part && !part.classList.contains("off")) choose(part.dataset.e, { scroll: false });
    });
    const hover = (event) => {
      const part = event.target.closest("[data-t]");
      tip.hidden = !part || !panel.hidden;
      if (tip.hidden) return;
      tip.textContent = part.dataset.t;
      const box = part.getBoundingClientRect();
      const low = box.top < tip.offsetHeight + 60;
      tip.style.left = `${Math.max(8, Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8)) + scrollX}px`;
      tip.style.top = `${(low ? box.bottom + 6 : box.top - tip.offsetHeight - 6) + scrollY}px`;
    };
    pair.addEventListener("mouseover", hover);
    pair.addEventListener("focusin", hover);
    pair.addEventListener("mouseleave", () => { tip.hidden = true; });
    byId("which").addEventListener("change", (event) => tell(edits[chosen][Number(event.target.value)]));
    byId("close").addEventListener("click", close);
    for (const box of all("[data-step]")) {
      box.addEventListener("change", () => {
        for (const part of all(`#pair .s-${CSS.escape(box.dataset.step)}`)) part.classList.toggle("off", !box.checked);
      });
    }
    const asked = location.hash.startsWith("#e") ? location.hash.slice(2) : pair.dataset.start;
    const show = (number) => { if (parts.has(number)) choose(number); };
    show(asked);
    addEventListener("hashchange", () => show(location.hash.slice(2)));
  }

  // Lists: j and k go from link to link.
  const links = all("a.open, button.open");
  function go(by) {
    const at = links.indexOf(document.activeElement);
    links[Math.max(0, Math.min(at + by, links.length - 1))]?.focus();
  }

  function turn(rel) {
    document.querySelector(`a[rel=${rel}]`)?.click();
  }

  const keys = {
    j: () => (parts.size ? move(1) : go(1)),
    k: () => (parts.size ? move(-1) : go(-1)),
    "[": () => turn("prev"),
    "]": () => turn("next"),
    d: () => byId("doubt")?.click(),
    "/": () => (byId("text") ? byId("text").focus() : location.assign("/list/all#text")),
    "?": () => byId("keys").showModal(),
    Escape: close,
    Enter: () => { if (document.activeElement?.dataset.e) choose(document.activeElement.dataset.e, { scroll: false }); },
    " ": () => { if (document.activeElement?.dataset.e) choose(document.activeElement.dataset.e, { scroll: false }); },
    w: () => verdict("wrong"),
    r: () => verdict("right"),
    u: () => { if (edit?.verdict) verdict("withdrawn"); },
  };
  function verdict(value) {
    if (panel && !panel.hidden && edit) form.requestSubmit(form.querySelector(`button[value=${value}]`));
  }
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (typing(event) && event.key !== "Escape") return;
    const act = keys[event.key];
    if (!act || ((event.key === "Enter" || event.key === " ") && !event.target.dataset.e)) return;
    event.preventDefault();
    act();
  });
  if (location.hash === "#text") byId("text")?.focus();

  // A page that says how far something is comes again, but not while somebody asks for something else.
  const again = () => (document.activeElement?.closest("form.find, dialog") ? later() : location.reload());
  const later = () => setTimeout(again, 1000 * Number(document.body.dataset.refresh));
  if (document.body.dataset.refresh) later();
})();
