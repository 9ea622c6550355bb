// Whether what has the focus shows it and can be seen. Gives its place among all, and what is wrong; null at the end.
() => {
  const one = document.activeElement;
  if (!one || one === document.body || one === document.documentElement) return null;
  window.__met ??= new Map();
  const isNew = !window.__met.has(one);
  if (isNew) window.__met.set(one, window.__met.size);
  const wrong = [];
  const style = getComputedStyle(one);
  if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) wrong.push("shows no focus");
  const box = one.getBoundingClientRect();
  const [left, right] = [Math.max(box.left, 0), Math.min(box.right, innerWidth)];
  const [top, bottom] = [Math.max(box.top, 0), Math.min(box.bottom, innerHeight)];
  if (right - left < 1 || bottom - top < 1) wrong.push("is out of sight");
  else {
    const points = [[(left + right) / 2, (top + bottom) / 2], [left + 3, (top + bottom) / 2], [(left + right) / 2, bottom - 3]];
    const isOn = ([x, y]) => {
      const hit = document.elementFromPoint(x, y);
      return hit && (one.contains(hit) || hit.contains(one) || [...(one.labels ?? [])].some((label) => label.contains(hit)));
    };
    if (!points.some(isOn)) wrong.push("is covered");
  }
  return { isNew, at: window.__met.get(one), wrong: wrong.map((what) => `${what}: ${one.outerHTML.slice(0, 120)}`) };
}
