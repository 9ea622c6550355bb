// What every page has: the theme, the help sheet, the live switch, copying, forms that send themselves.
export const base = document.body.dataset.base;

export function url(path) {
  return base + path;
}

export function everyPage(live) {
  theme();
  forget();
  const sheet = document.querySelector("[data-help-sheet]");
  const help = document.querySelector("[data-help]");
  help.hidden = false;
  help.addEventListener("click", () => sheet.showModal());
  liveSwitch(live);
  document.addEventListener("click", (event) => {
    const copied = event.target.closest("[data-copy]");
    if (copied && navigator.clipboard) {
      const text = copied.dataset.text || copied.textContent;
      copied.dataset.text = text;
      navigator.clipboard.writeText(text).then(() => {
        copied.textContent = "copied";
        setTimeout(() => { copied.textContent = text; }, 900);
      });
    }
    for (const open of document.querySelectorAll("details.menu[open]")) {
      if (!open.contains(event.target)) open.open = false;
    }
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  });
  const facets = document.querySelector("[data-facets]");
  if (facets && matchMedia("(max-width: 900px)").matches) facets.open = false;
  for (const fold of document.querySelectorAll("details[data-kept]")) {
    const key = `executions.${fold.dataset.kept}`;
    fold.open = localStorage.getItem(key) !== "0";
    fold.addEventListener("toggle", () => localStorage.setItem(key, fold.open ? "1" : "0"));
  }
}

// What was just done is said once: whoever reloads the page, or is sent its address, has not done it.
function forget() {
  const here = new URL(location.href);
  if (!here.searchParams.has("done")) return;
  for (const name of ["done", "n", "skipped"]) here.searchParams.delete(name);
  history.replaceState(history.state, "", here);
}

function theme() {
  const form = document.querySelector("[data-theme-form]");
  const button = form.querySelector("button");
  const shown = () => document.documentElement.dataset.theme
    || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const other = () => (shown() === "dark" ? "light" : "dark");
  button.value = other();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = other();
    document.documentElement.dataset.theme = chosen;
    button.value = other();
    fetch(form.action, { method: "POST", body: new URLSearchParams({ theme: chosen }), redirect: "manual" });
  });
}

function liveSwitch(live) {
  const button = document.querySelector("[data-live]");
  button.hidden = false;
  const show = () => {
    button.dataset.state = live.paused ? "paused" : live.connected === null ? "wait" : live.connected ? "on" : "off";
    button.lastElementChild.textContent = live.paused ? "Paused" : live.connected === false ? "Offline" : "Live";
    button.title = live.paused ? "Live updates are paused. Click to resume." : "Live updates. Click to pause.";
  };
  button.addEventListener("click", () => live.toggle());
  live.onState(show);
  show();
}
