// Filters, search and what there is to know of a change. The page reads without all of it.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const tip = document.getElementById("tip");

  // `qingyuan view` shows this page as if from nowhere: what lies beside it can't be reached from there.
  if (location.protocol !== "file:" && self.origin === "null") all("[data-beside]").forEach((one) => one.remove());

  // What there is to know of a change, by mouse, touch and keyboard.
  let lit = [];
  const hide = () => {
    tip.hidden = true;
    lit.forEach((other) => other.classList.remove("on"));
    lit = [];
  };
  const tell = (change) => {
    hide();
    tip.textContent = change.dataset.t;
    tip.hidden = false;
    const box = change.getClientRects()[0] || change.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    const left = Math.max(8, Math.min(box.left, width - tip.offsetWidth - 8));
    const below = box.bottom + 8 + tip.offsetHeight < innerHeight;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${scrollY + (below ? box.bottom + 6 : Math.max(box.top - tip.offsetHeight - 6, 4))}px`;
    const table = change.closest("[data-moves]");
    if (table && change.dataset.e) {
      lit = all(`[data-e="${change.dataset.e}"]`, table);
      lit.forEach((other) => other.classList.add("on"));
    }
    change.setAttribute("aria-describedby", "tip");
  };
  const told = (event) => (event.target instanceof Element ? event.target.closest("[data-t]") : null);
  document.addEventListener("pointerover", (event) => {
    const change = told(event);
    if (change && change.dataset.t) tell(change);
    else if (document.activeElement && !document.activeElement.dataset.t) hide();
  });
  document.addEventListener("focusin", (event) => (told(event) && told(event).dataset.t ? tell(told(event)) : hide()));
  document.addEventListener("focusout", hide);

  // One stop for Tab in each document; the arrow keys go from change to change.
  all("[data-moves]").forEach((table) => {
    const first = table.querySelector("[data-t]");
    if (first) first.tabIndex = 0;
  });
  all(".rules [data-t]").forEach((change) => { if (change.dataset.t) change.tabIndex = 0; });
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    const change = told(event);
    const table = change && change.closest("[data-moves]");
    if (!table || event.ctrlKey || event.metaKey || event.altKey) return undefined;
    const changes = all("[data-t]", table);
    let to = -1;
    if (event.key in step) to = changes.indexOf(change) + step[event.key];
    if (event.key === "Home") to = 0;
    if (event.key === "End") to = changes.length - 1;
    if (!(event.key in step) && to < 0) return undefined;
    event.preventDefault();
    const next = changes[Math.max(0, Math.min(to, changes.length - 1))];
    change.tabIndex = -1;
    next.tabIndex = 0;
    return next.focus();
  });
  document.addEventListener("click", (event) => {
    const change = told(event);
    if (change && change.dataset.t) tell(change);
  });

  // Documents by what is looked for. Neither hosts nor names of folders have a slash.
  const form = document.querySelector("[data-filter]");
  if (!form) return;
  form.hidden = false;
  const articles = all("article.doc").map((article) => ({ article, text: article.textContent.toLowerCase() }));
  const status = document.querySelector("[data-status]");
  const none = document.querySelector("[data-none]");
  const filter = () => {
    const asked = form.querySelector("input").value.trim().toLowerCase();
    const by = all("select", form).filter((select) => select.value);
    let shown = 0;
    articles.forEach(({ article, text }) => {
      const fits = text.includes(asked) && by.every((s) => article.dataset[s.dataset.by].split("/").includes(s.value));
      article.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    status.textContent = `${shown} of ${articles.length} documents shown`;
    none.hidden = shown > 0;
    hide();
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();

  // A page on paper shows what it has.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    opened.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((one) => { one.open = false; }));
})();
