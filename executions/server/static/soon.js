// Do something soon, once for all who ask meanwhile, and not again before it is done and a pause is over. What was on
// its way when somebody paused the page stays undone, unless it was asked for by hand: with an event of the document.
export function soon(act, pause, live) {
  let waiting = false;
  let running = false;
  let byHand = false;
  const run = async () => {
    waiting = false;
    if (live.paused && !byHand) return;
    running = true;
    byHand = false;
    try { await act(); } catch { /* the next time it may be there again */ }
    setTimeout(() => { running = false; if (waiting) run(); }, pause);
  };
  return (how) => {
    byHand = byHand || how instanceof Event;
    if (running || waiting) { waiting = true; return; }
    waiting = true;
    setTimeout(run, 60);
  };
}

export async function fetchText(address) {
  const answer = await fetch(address, { headers: { "X-Fragment": "1" } });
  if (!answer.ok || answer.redirected) throw new Error(`${answer.status}`);
  return answer;
}
