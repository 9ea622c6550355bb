// Do something soon, once for all who ask meanwhile, and not again before it is done and a pause is over.
export function soon(act, pause) {
  let waiting = false;
  let running = false;
  const run = async () => {
    running = true;
    waiting = false;
    try { await act(); } catch { /* the next time it may be there again */ }
    setTimeout(() => { running = false; if (waiting) run(); }, pause);
  };
  return () => {
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
