// The list: rows that are shown are kept up to date where they stand, those that are not shown are only counted.
import { url } from "./page.js";
import { fetchText, soon } from "./soon.js";

export function rows(live) {
  const table = document.querySelector("[data-live-rows]");
  if (table) { selecting(table); patching(table, live); opening(table); }
  const counts = document.querySelector("[data-counts]");
  if (counts && !table) {
    const read = soon(() => news(counts.dataset.q || "", ""), 3000, live);
    live.onEvent(read);
  }
}

function opening(table) {
  table.addEventListener("click", (event) => {
    if (event.target.closest("a, input, button, label, .pick") || String(getSelection())) return;
    const link = event.target.closest("tbody tr")?.querySelector(".open");
    if (link) location.href = link.href;
  });
}

function selecting(table) {
  const form = table.closest("form");
  const all = table.querySelector("[data-all]");
  const said = form.querySelector("[data-selected]");
  const boxes = () => [...table.querySelectorAll("tbody .pick input")];
  all.hidden = false;
  const count = () => {
    const chosen = boxes().filter((box) => box.checked).length;
    if (said) said.textContent = `${chosen} selected`;
    all.checked = chosen > 0 && chosen === boxes().length;
    all.indeterminate = chosen > 0 && !all.checked;
  };
  all.addEventListener("change", () => { for (const box of boxes()) box.checked = all.checked; count(); });
  let last = null;
  table.addEventListener("click", (event) => {
    const box = event.target.closest("tbody .pick input");
    if (!box) return;
    if (event.shiftKey && last) {
      const every = boxes();
      const [from, to] = [every.indexOf(last), every.indexOf(box)].sort((a, b) => a - b);
      for (const one of every.slice(from, to + 1)) one.checked = box.checked;
    }
    last = box;
  });
  table.addEventListener("change", count);
  count();
}

function patching(table, live) {
  const { q, since, first, list } = table.dataset;
  const changed = new Set();
  const shown = (id) => document.getElementById(`x-${id}`);
  const patch = soon(async () => {
    const ids = [...changed].filter(shown);
    changed.clear();
    if (!ids.length) return;
    const asked = new URLSearchParams(list);
    asked.set("q", q);
    asked.set("ids", ids.join(","));
    const answer = await fetchText(url(`/executions/rows?${asked}`));
    const holder = document.createElement("template");
    holder.innerHTML = `<table><tbody>${await answer.text()}</tbody></table>`;
    for (const fresh of holder.content.querySelectorAll("tr[data-id]")) replace(shown(fresh.dataset.id), fresh);
  }, 500, live);
  const count = soon(() => news(q, first ? since : ""), 2000, live);
  const all = (how) => {
    for (const row of table.querySelectorAll("tbody tr")) changed.add(row.dataset.id);
    patch(how);
  };
  live.onEvent((event) => {
    if (event.resync) all();
    else if (shown(event.id)) { changed.add(event.id); patch(); }
    count();
  });
  // How far a function is makes no event; it is asked for while somebody looks.
  setInterval(() => {
    if (live.paused || document.hidden) return;
    for (const row of table.querySelectorAll('tr[data-status="running"]')) changed.add(row.dataset.id);
    if (changed.size) patch();
  }, 4000);
  table.addEventListener("executions:refresh", all);
}

function replace(row, fresh) {
  if (!row) return;
  const box = row.querySelector(".pick input");
  fresh.querySelector(".pick input").checked = box.checked;
  if (row.hasAttribute("data-at")) fresh.setAttribute("data-at", "");
  const focused = row.contains(document.activeElement) ? document.activeElement.className : null;
  row.replaceWith(fresh);
  if (focused !== null) (focused ? fresh.querySelector(`.${focused.split(" ")[0]}`) : fresh.querySelector("input"))?.focus();
}

async function news(q, since) {
  const answer = await fetchText(url(`/executions/news?${new URLSearchParams({ q, since })}`));
  const found = await answer.json();
  let total = 0;
  for (const [status, count] of Object.entries(found.counts)) {
    total += count;
    for (const one of document.querySelectorAll(`[data-count="${status}"]`)) one.textContent = count.toLocaleString("en");
  }
  for (const one of document.querySelectorAll('[data-count=""]')) one.textContent = total.toLocaleString("en");
  const pill = document.querySelector("[data-news]");
  if (pill && since) {
    pill.firstElementChild.hidden = !found.new;
    pill.firstElementChild.textContent = `${found.new.toLocaleString("en")} new`;
  }
}
