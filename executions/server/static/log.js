// A log that grows: new lines are added at its end, and the page follows them until somebody scrolls up.
import { soon } from "./soon.js";

export function log(live) {
  const view = document.querySelector("[data-log]");
  if (!view) return;
  const wrap = show("[data-wrap-label]", "[data-wrap]");
  wrap.addEventListener("change", () => view.classList.toggle("nowrap", !wrap.checked));
  if (location.hash && toLine(location.hash)) return;
  view.addEventListener("click", (event) => { if (event.target.closest(".n")) setTimeout(() => named(view)); });
  if (!view.dataset.open) return;
  const follow = show("[data-follow-label]", "[data-follow]");
  const toEnd = () => { if (follow.checked) scrollTo({ top: document.documentElement.scrollHeight }); };
  addEventListener("wheel", (event) => { if (event.deltaY < 0) follow.checked = false; }, { passive: true });
  addEventListener("keydown", (event) => {
    if (["PageUp", "Home", "ArrowUp"].includes(event.key)) follow.checked = false;
  });
  follow.addEventListener("change", toEnd);
  let over = false;
  const read = soon(async () => {
    if (over) return;
    const answer = await fetch(`${view.dataset.url}&from=${view.dataset.after}`, { headers: { "X-Fragment": "1" } });
    if (!answer.ok || answer.redirected) return;
    over = Boolean(answer.headers.get("X-Over"));
    // All of it has to be here before the next piece is asked for: the server may be gone between head and body.
    const lines = await answer.text();
    view.dataset.after = answer.headers.get("X-After");
    view.insertAdjacentHTML("beforeend", lines);
    toEnd();
  }, 300, live);
  if (!location.hash) toEnd();
  live.onEvent((event) => { if (location.pathname.includes(event.id)) read(); });
  setInterval(() => { if (!live.paused && !document.hidden) read(); }, 1000);
}

// The address of a line leads to it from wherever it is opened, though the page may begin further down by then.
function toLine(hash) {
  const line = document.getElementById(hash.slice(1));
  line?.scrollIntoView({ block: "center" });
  if (line || !/^#L\d+$/.test(hash) || new URLSearchParams(location.search).has("from")) return false;
  location.replace(at(Number(hash.slice(2)), new URLSearchParams(location.search)) + hash);
  return true;
}

// Who copies the address of a line means this attempt's, and a page that has it.
function named(view) {
  const number = Number(location.hash.slice(2));
  const asked = new URLSearchParams(location.search);
  const { attempt } = view.dataset;
  asked.set("attempt", attempt);
  history.replaceState(history.state, "", at(number, asked) + location.hash);
}

function at(number, asked) {
  asked.set("from", Math.max(1, number - 20));
  return `${location.pathname}?${asked}`;
}

function show(label, box) {
  document.querySelector(label).hidden = false;
  return document.querySelector(box);
}
