// Do something soon, once for all who ask meanwhile, and not again before it is done and a pause is over. What was on
// its way when somebody paused the page stays undone, unless it was asked for by hand: with an event of the document.
// Where it takes long the pause grows with it, so that many who watch leave a busy server time for those who act. A
// page that nobody sees does nothing; it makes up for it when it is seen again.
export function soon(act, pause, live) {
  let waiting = false;
  let running = false;
  let byHand = false;
  const run = async () => {
    waiting = false;
    if (live.paused && !byHand) return;
    if (document.hidden) { document.addEventListener("visibilitychange", again, { once: true }); return; }
    running = true;
    byHand = false;
    const began = performance.now();
    try { await act(); } catch { /* the next time it may be there again */ }
    const long = Math.min(10 * (performance.now() - began), 10_000);
    setTimeout(() => { running = false; if (waiting) run(); }, Math.max(pause, long));
  };
  const again = (how) => {
    byHand = byHand || how instanceof Event;
    if (running || waiting) { waiting = true; return; }
    waiting = true;
    setTimeout(run, 60);
  };
  return again;
}

export async function fetchText(address) {
  const answer = await fetch(address, { headers: { "X-Fragment": "1" } });
  if (!answer.ok || answer.redirected) throw new Error(`${answer.status}`);
  return answer;
}
