// Times as seen from here: ages and running durations go on, and what is in UTC is told in local time as well.
const STEPS = [[60, 1, "s"], [3600, 60, " min"], [86400, 3600, " h"], [Infinity, 86400, " d"]];

function rough(seconds) {
  const [, unit, word] = STEPS.find(([below]) => seconds < below);
  return `${Math.floor(seconds / unit)}${word}`;
}

function ago(moment) {
  const seconds = (Date.now() - moment) / 1000;
  if (Math.abs(seconds) < 1) return "now";
  return seconds > 0 ? `${rough(seconds)} ago` : `in ${rough(-seconds)}`;
}

function lasting(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)}s`;
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  return [hours && `${hours}h`, (hours || minutes) && `${minutes}m`, `${whole % 60}s`].filter(Boolean).join(" ");
}

function local(moment) {
  const text = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" }).format(moment);
  const zone = new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts(moment)
    .find((part) => part.type === "timeZoneName").value;
  return `${text} ${zone}`;
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function tick() {
  for (const node of document.querySelectorAll("time[data-ago]")) set(node, ago(new Date(node.dateTime)));
  for (const node of document.querySelectorAll("[data-since]:not(table)")) {
    set(node, lasting(Math.max(0, (Date.now() - new Date(node.dataset.since)) / 1000)));
  }
}

function places() {
  const head = document.querySelector("[data-local-head]");
  if (head) {
    head.hidden = false;
    for (const cell of document.querySelectorAll("[data-local]")) {
      cell.hidden = false;
      set(cell, local(new Date(cell.dataset.local)));
    }
  }
  for (const node of document.querySelectorAll("time[title]:not([data-told])")) {
    node.dataset.told = "";
    node.title = `${node.title}\n${local(new Date(node.dateTime))}`;
  }
}

export function clocks(live) {
  places();
  tick();
  setInterval(() => { if (!document.hidden && !live.paused) tick(); }, 1000);
  document.addEventListener("executions:changed", () => { places(); tick(); });
}
