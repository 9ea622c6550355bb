// A log that grows: new lines are added at its end, and the page follows them until somebody scrolls up.
import { soon } from "./soon.js";

export function log(live) {
  const view = document.querySelector("[data-log]");
  if (!view) return;
  const wrap = show("[data-wrap-label]", "[data-wrap]");
  wrap.addEventListener("change", () => view.classList.toggle("nowrap", !wrap.checked));
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView({ block: "center" });
  if (!view.dataset.open) return;
  const follow = show("[data-follow-label]", "[data-follow]");
  const toEnd = () => { if (follow.checked) scrollTo({ top: document.documentElement.scrollHeight }); };
  let own = 0;
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
    view.dataset.after = answer.headers.get("X-After");
    view.insertAdjacentHTML("beforeend", await answer.text());
    own += 1;
    toEnd();
  }, 300, live);
  if (!location.hash) toEnd();
  live.onEvent((event) => { if (location.pathname.includes(event.id)) read(); });
  setInterval(() => { if (!live.paused && !document.hidden) read(); }, 1000);
}

function show(label, box) {
  document.querySelector(label).hidden = false;
  return document.querySelector(box);
}
