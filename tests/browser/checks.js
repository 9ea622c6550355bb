// What WCAG 2.2 AA asks of a page as far as a program can tell, checked on what the browser made of it.
() => {
  const found = [];
  const every = (selector, root = document) => [...root.querySelectorAll(selector)];
  const textOf = (node) => node.textContent.replace(/\s+/g, " ").trim();
  const say = (what, node) => {
    const name = node.tagName.toLowerCase() + (node.id ? `#${node.id}` : "")
      + (node.getAttribute("class") ? `.${node.getAttribute("class").split(" ").join(".")}` : "");
    found.push(`${what}: <${name}> ${textOf(node).slice(0, 50)}`);
  };
  const seen = (node) => {
    if (!node.checkVisibility({ visibilityProperty: true }) || node.closest(".unseen")) return false;
    const box = node.getBoundingClientRect();
    return box.width > 1 && box.height > 1;
  };

  // Colours
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\d.]+(e-?\d+)?%?/g).map(Number);
    return text.startsWith("color(") ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((part, at) => part * a + under[at] * (1 - a));
  const light = (colour) => {
    const [r, g, b] = colour.map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  // The colours that may lie behind a node: one, or those of a gradient.
  const behind = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.backgroundImage.includes("gradient")) {
        const colours = style.backgroundImage.match(/(rgba?|color)\([^)]*\)/g).map((one) => parse(one).slice(0, 3));
        return colours.map((one) => layers.reduceRight((under, layer) => over(layer, under), one));
      }
      const colour = parse(style.backgroundColor);
      if (colour[3]) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return [layers.reduceRight((under, layer) => over(layer, under), [255, 255, 255])];
  };
  const faded = (node) => {
    let share = 1;
    for (let at = node; at; at = at.parentElement) share *= Number(getComputedStyle(at).opacity);
    return share;
  };
  const worst = (node, colour, share = faded(node)) => {
    const [r, g, b, a] = parse(colour);
    return Math.min(...behind(node).map((under) => contrast(over([r, g, b, a * share], under), under)));
  };
  const legible = (node, style, share = faded(node)) => {
    const size = parseFloat(style.fontSize);
    const enough = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const is = worst(node, style.color, share);
    if (is < enough) say(`text has contrast ${is.toFixed(2)}, not ${enough}`, node);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const held = new Set();
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    const isText = walker.currentNode.data.trim() && !parent.closest("svg, option, datalist, noscript, select, script");
    if (isText && !held.has(parent) && seen(parent) && !parent.closest(":disabled")) {
      held.add(parent);
      legible(parent, getComputedStyle(parent));
    }
  }
  const fields = every("input:not([type=hidden]), select, textarea").filter(seen);
  for (const field of fields.filter((one) => !one.disabled)) {
    if (field.matches("[type=checkbox], [type=radio]")) continue;
    const style = getComputedStyle(field);
    const hint = getComputedStyle(field, "::placeholder");
    if (field.value) legible(field, style);
    else if (field.placeholder) legible(field, hint, faded(field) * Number(hint.opacity));
    if (worst(field.parentElement, style.borderTopColor) < 3) say("the edge of a field is hard to see", field);
  }
  for (const shape of every("svg.shape, button svg").filter(seen)) {
    const is = worst(shape, getComputedStyle(shape).color);
    if (is < 3) say(`a shape has contrast ${is.toFixed(2)}, not 3`, shape.parentElement);
  }

  // Names
  for (const field of fields) {
    if (!field.labels?.length && !field.getAttribute("aria-label")) say("a field without a label", field);
  }
  for (const drawn of every("svg")) {
    const words = drawn.getAttribute("aria-label") || document.getElementById((drawn.getAttribute("aria-labelledby") || "").split(" ")[0])?.textContent;
    if (drawn.getAttribute("aria-hidden") !== "true" && !words) say("a picture without words", drawn.parentElement);
  }
  for (const status of every(".status")) {
    if (!status.querySelector("svg.shape") || !textOf(status)) say("a status that is colour alone", status);
  }
  for (const one of every("[aria-labelledby], [aria-describedby], [aria-controls], [list]")) {
    for (const name of ["aria-labelledby", "aria-describedby", "aria-controls", "list"]) {
      for (const id of (one.getAttribute(name) ?? "").split(" ").filter(Boolean)) {
        if (!document.getElementById(id)) say(`${name} names nothing`, one);
      }
    }
  }
  const ids = every("[id]").map((one) => one.id);
  for (const id of new Set(ids.filter((one, at) => ids.indexOf(one) !== at))) found.push(`two have the id ${id}`);

  // Structure
  if (!document.documentElement.lang) found.push("the language is not named");
  if (!document.title.trim()) found.push("no title");
  if (every("main").length !== 1) found.push("not one main");
  const headings = every("h1, h2, h3, h4, h5, h6").filter((one) => one.checkVisibility()).map((one) => [Number(one.tagName[1]), one]);
  if (headings.filter(([level]) => level === 1).length !== 1) found.push("not one h1");
  headings.reduce((before, [level, node]) => {
    if (level > before + 1) say("a heading skips a level", node);
    if (!textOf(node)) say("an empty heading", node);
    return level;
  }, 0);
  for (const one of document.body.children) {
    if (!one.matches("header, main, footer, dialog, .skip, [role=status], script")) say("outside of every landmark", one);
  }
  const places = every("nav, aside, [role=search], form[aria-label], section[aria-label]").filter(seen)
    .map((one) => `${one.tagName} ${one.getAttribute("aria-label")}`);
  for (const one of every("nav, aside")) if (!one.getAttribute("aria-label")) say("a landmark without a name", one);
  for (const name of new Set(places.filter((one, at) => places.indexOf(one) !== at))) found.push(`two landmarks are called ${name}`);
  for (const table of every("table")) {
    if (!table.querySelector("th")) say("a table without headers", table);
    for (const head of every("th", table)) {
      if (!head.scope) say("a header of nothing", head);
      if (!textOf(head) && !head.querySelector("[aria-label]")) say("an empty header", table);
    }
  }
  for (const list of every("ul, ol")) {
    if ([...list.children].some((one) => one.tagName !== "LI")) say("a list with something else in it", list);
  }

  // Things to hit: 24 by 24, or far enough from each other, or in a line of text, or another way to the same.
  // What lies below an open panel cannot be hit at all.
  const panels = every("details[open] > .panel").filter(seen).map((one) => [one, one.getBoundingClientRect()]);
  const isCovered = (node) => {
    const box = node.getBoundingClientRect();
    return panels.some(([panel, cover]) => !panel.contains(node) && box.left < cover.right && box.right > cover.left
      && box.top < cover.bottom && box.bottom > cover.top);
  };
  const targets = every("a[href], button, input:not([type=hidden]), select, textarea, summary")
    .filter((one) => seen(one) && !one.closest("svg, .n") && one.tabIndex >= 0 && !one.disabled && !isCovered(one));
  const boxOf = (one) => {
    const boxes = [one, ...(one.labels ?? [])].map((part) => part.getBoundingClientRect());
    const left = Math.min(...boxes.map((box) => box.left));
    const top = Math.min(...boxes.map((box) => box.top));
    const right = Math.max(...boxes.map((box) => box.right));
    const bottom = Math.max(...boxes.map((box) => box.bottom));
    return { one, left, top, right, bottom, x: (left + right) / 2, y: (top + bottom) / 2 };
  };
  const isInText = (one) => {
    if (getComputedStyle(one).display !== "inline") return false;
    let block = one.parentElement;
    while (getComputedStyle(block).display === "inline") block = block.parentElement;
    return textOf(block).length > textOf(one).length;
  };
  const boxes = targets.map(boxOf);
  const isSmall = (box) => box.right - box.left < 23.5 || box.bottom - box.top < 23.5;
  for (const box of boxes.filter((one) => isSmall(one) && !isInText(one.one))) {
    const near = boxes.find((other) => {
      if (other === box || other.one.contains(box.one) || box.one.contains(other.one)) return false;
      const dx = Math.max(other.left - box.x, 0, box.x - other.right);
      const dy = Math.max(other.top - box.y, 0, box.y - other.bottom);
      const circles = isSmall(other) && Math.hypot(other.x - box.x, other.y - box.y) < 23.5;
      return Math.hypot(dx, dy) < 11.75 || circles;
    });
    if (near) say(`a target of ${Math.round(box.right - box.left)} x ${Math.round(box.bottom - box.top)} close to "${textOf(near.one).slice(0, 20)}"`, box.one);
  }
  return [...new Set(found)];
}
