// One execution: its page is read again when something happened to it, unless somebody is using what would change.
import { fetchText, soon } from "./soon.js";

export function one(live) {
  const head = document.querySelector("[data-live-one]");
  if (!head) return;
  const id = head.dataset.liveOne;
  const read = soon(async () => {
    const answer = await fetchText(location.href);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of ["[data-live-one]", "[data-live-part]"]) exchange(part, fresh);
  }, 700, live);
  live.onEvent((event) => {
    const isOpen = !document.querySelector("[data-live-one]").dataset.done;
    if (event.id === id || (event.resync && isOpen)) read();
  });
  setInterval(() => {
    const isOpen = !document.querySelector("[data-live-one]").dataset.done;
    if (isOpen && !live.paused && !document.hidden) read();
  }, 3000);
  document.addEventListener("executions:refresh", read);
}

function exchange(selector, fresh) {
  const old = document.querySelector(selector);
  const next = fresh.querySelector(selector);
  if (!old || !next || old.querySelector("details.menu[open]") || old.outerHTML === next.outerHTML) return;
  const selection = getSelection();
  if (selection.rangeCount && !selection.isCollapsed && old.contains(selection.anchorNode)) return;
  const folds = [...old.querySelectorAll("details")].map((fold) => fold.open);
  next.querySelectorAll("details").forEach((fold, at) => { if (at < folds.length) fold.open = folds[at]; });
  const held = pressable(old).indexOf(document.activeElement);
  const said = document.activeElement.textContent;
  old.replaceWith(next);
  if (held >= 0) hold(next, pressable(next)[held], said);
  document.dispatchEvent(new Event("executions:changed"));
}

function pressable(part) { return [...part.querySelectorAll("a[href], button, summary, input:not([type=hidden])")]; }

// The keyboard stays where it was. Where something else stands there by now, it must not be pressed by mistake.
function hold(part, same, said) {
  const kept = same?.textContent === said ? same : part;
  if (kept === part) part.tabIndex = -1;
  kept.focus({ preventScroll: true });
}
