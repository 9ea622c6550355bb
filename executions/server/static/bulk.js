// A bulk: its page is read again as it goes on, while somebody looks.
import { url } from "./page.js";
import { fetchText, soon } from "./soon.js";

export function bulk(live) {
  const part = () => document.querySelector("[data-live-bulk]");
  if (!part()) return;
  const read = soon(async () => {
    const answer = await fetchText(location.href);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-live-bulk]");
    if (!fresh || part().outerHTML === fresh.outerHTML) return;
    const focused = part().contains(document.activeElement) ? document.activeElement.tagName : "";
    part().querySelectorAll("details").forEach((fold, at) => {
      const same = fresh.querySelectorAll("details")[at];
      if (same) same.open = fold.open;
    });
    part().replaceWith(fresh);
    if (focused) part().querySelector(focused)?.focus();
    document.dispatchEvent(new Event("executions:changed"));
    follow();
  }, 400, live);
  let source = null;
  const close = () => { source?.close(); source = null; };
  const follow = () => {
    const isWanted = !live.paused && !document.hidden && !part().dataset.done;
    if (!isWanted) close();
    else if (!source) {
      source = new EventSource(url(`/api/v1/bulk/${part().dataset.liveBulk}/stream`));
      source.addEventListener("bulk.progress", read);
      source.addEventListener("bye", () => { close(); read(); });
    }
  };
  live.onState(follow);
  document.addEventListener("visibilitychange", follow);
  document.addEventListener("executions:refresh", read);
  addEventListener("pagehide", close);
  follow();
}
