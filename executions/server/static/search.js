// The search box: what may come next, as it is typed. The server knows the language and the values that there are.
import { url } from "./page.js";

const PAUSE_MS = 120;

export function search() {
  const box = document.querySelector("[data-search]");
  const list = box?.list;
  if (!list) return;
  let timer = 0;
  let asked = 0;
  box.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => offer(++asked), PAUSE_MS);
  });

  async function offer(number) {
    const wanted = new URLSearchParams({ q: box.value, position: box.selectionStart ?? box.value.length });
    const answer = await fetch(url(`/executions/suggest?${wanted}`)).catch(() => null);
    // An answer that was overtaken by more typing is of no use.
    if (!answer?.ok || number !== asked) return;
    const { texts } = await answer.json();
    list.replaceChildren(...texts.map((text) => {
      const option = document.createElement("option");
      option.value = text;
      return option;
    }));
  }
}
