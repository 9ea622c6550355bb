// The keyboard: single letters while nothing is being typed, unless somebody has switched them off in the help sheet.
const OFF = "executions.keys.off";

export function keyboard(live) {
  const act = document.querySelector("[data-keys]");
  act.checked = localStorage.getItem(OFF) !== "1";
  act.addEventListener("change", () => localStorage.setItem(OFF, act.checked ? "0" : "1"));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") { leave(event.target); return; }
    const typing = event.target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select");
    if (typing || !act.checked) return;
    const done = Object.hasOwn(ACTS, event.key)
      ? ACTS[event.key](live)
      : press(`[data-key="${CSS.escape(event.key)}"]`);
    if (done !== false) event.preventDefault();
  });
}

const ACTS = {
  "/": () => focus("[data-search]"),
  "?": () => press("[data-help]"),
  j: () => (rows().length ? move(1) : press('[rel="next"]')),
  k: () => (rows().length ? move(-1) : press('[rel="prev"]')),
  x: () => { at()?.querySelector(".pick input")?.click(); },
  a: () => { document.querySelector(".bulk button")?.focus(); },
  l: () => press("[data-logs]"),
  c: () => press("[data-good]"),
  u: () => press("[data-up]"),
  t: () => press("[data-theme-form] button"),
  p: (live) => live.toggle(),
  r: () => {
    const view = document.querySelector("[data-live-rows]");
    if (view) view.dispatchEvent(new Event("executions:refresh"));
    else if (document.querySelector("[data-live-part]")) document.dispatchEvent(new Event("executions:refresh"));
    else location.reload();
  },
};

function leave(target) {
  const menu = target.closest("details.menu[open]");
  if (menu) { menu.open = false; menu.querySelector("summary").focus(); } else target.blur();
}

// What `j` and `k` go through: the rows of a list, or the groups of failures.
function rows() { return [...document.querySelectorAll("table.rows tbody tr, .group")].filter((row) => row.querySelector(".open")); }

function at() { return document.querySelector("[data-at]"); }

function focus(selector) {
  const field = document.querySelector(selector);
  if (!field) { location.href = `${document.body.dataset.base}/executions`; return; }
  field.focus();
  field.select();
}

function press(selector) {
  const found = document.querySelector(selector);
  if (!found) return false;
  found.click();
  return true;
}

// The row's link has the focus, so that Enter opens it and a screen reader reads it.
function move(by) {
  const every = rows();
  const now = every.indexOf(at());
  const next = every[now < 0 ? (by > 0 ? 0 : every.length - 1) : Math.min(every.length - 1, Math.max(0, now + by))];
  at()?.removeAttribute("data-at");
  next.setAttribute("data-at", "");
  next.querySelector(".open").focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}
