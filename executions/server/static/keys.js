// The keyboard: single letters while nothing is being typed.
export function keyboard(live) {
  let going = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select");
    if (typing) { if (event.key === "Escape") typing.blur(); return; }
    if (document.querySelector("dialog[open]")) return;
    if (Date.now() - going < 1500) {
      going = 0;
      const link = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); return; }
    }
    if (event.key === "g") { going = Date.now(); return; }
    const act = ACTS[event.key];
    if (act && act(live) !== false) event.preventDefault();
  });
}

const ACTS = {
  "/": () => focus("[data-search]"),
  "?": () => press("[data-help]"),
  j: () => (table() ? move(1) : press('[rel="next"]')),
  k: () => (table() ? move(-1) : press('[rel="prev"]')),
  Enter: () => (at() && document.activeElement === document.body ? (at().querySelector(".open").click(), true) : false),
  x: () => (at() ? (at().querySelector(".pick input")?.click(), true) : false),
  l: () => press("[data-logs]"),
  u: () => press("[data-up]"),
  t: () => press("[data-theme-form] button"),
  p: (live) => { live.toggle(); return true; },
  r: () => {
    const view = document.querySelector("[data-live-rows]");
    if (view) view.dispatchEvent(new Event("executions:refresh"));
    else if (document.querySelector("[data-live-part]")) document.dispatchEvent(new Event("executions:refresh"));
    else location.reload();
  },
};

function table() { return document.querySelector("table.rows tbody"); }

function at() { return document.querySelector("tr[data-at]"); }

function focus(selector) {
  const field = document.querySelector(selector);
  if (!field) { location.href = `${document.body.dataset.base}/executions`; return true; }
  field.focus();
  field.select();
  return true;
}

function press(selector) {
  const found = document.querySelector(selector);
  if (!found) return false;
  found.click();
  return true;
}

function move(by) {
  const every = [...table().rows];
  if (!every.length) return false;
  const now = every.indexOf(at());
  const next = every[now < 0 ? (by > 0 ? 0 : every.length - 1) : Math.min(every.length - 1, Math.max(0, now + by))];
  at()?.removeAttribute("data-at");
  next.setAttribute("data-at", "");
  if (document.activeElement !== document.body) document.activeElement.blur();
  next.scrollIntoView({ block: "nearest" });
  return true;
}
