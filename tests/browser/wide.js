// How much wider than the window a page is, and what makes it so; empty where it fits.
() => {
  const width = document.documentElement.clientWidth;
  const over = document.documentElement.scrollWidth - width;
  if (over <= 0) return "";
  const isCut = (one) => one !== document.body && (getComputedStyle(one).overflowX !== "visible" || isCut(one.parentElement));
  const wide = [...document.body.querySelectorAll("*")]
    .filter((one) => one.getBoundingClientRect().right > width + 0.5 && !isCut(one));
  return `${over} px too wide: ${wide.slice(-2).map((one) => one.outerHTML.slice(0, 90)).join(" | ")}`;
}
