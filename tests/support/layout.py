"""What a page looks like to a reader: sizes of words, and what overlaps or leaves the page."""

from typing import Any

from support.browser import Browser

LEAST = 11.0
"""Pixels of the smallest letters."""

_MEASURE = """
(() => {
  const css = e => getComputedStyle(e);
  const shown = e => e.checkVisibility({visibilityProperty: true, opacityProperty: true});
  const box = e => e.getBoundingClientRect().toJSON();
  const texts = e => [...e.childNodes].filter(n => n.nodeType == 3 && n.data.trim());
  const lines = node => {
    const range = document.createRange();
    range.selectNodeContents(node);
    return [...range.getClientRects()].map(r => r.toJSON());
  };
  const scrolls = e => {
    while ((e = e.parentElement)) if (css(e).overflowX != 'visible') return true;
    return false;
  };
  const drawn = e => {  // letters of a figure are as large as the figure is
    const to = e.getScreenCTM(), first = e.querySelector('tspan') || e;
    return parseFloat(css(first).fontSize) * Math.sqrt(Math.abs(to.a * to.d - to.b * to.c));
  };
  const words = [], wide = [];
  for (const e of document.body.querySelectorAll('*')) {
    if (!shown(e) || e.closest(`IGNORED`)) continue;
    const r = box(e);
    if (r.width > 1 && (r.right > innerWidth + 0.5 || r.left < -0.5) && !scrolls(e))
      wide.push(`${e.outerHTML.slice(0, 80)}: ${r.left.toFixed()} to ${r.right.toFixed()}`);
    if (e.tagName == 'text' && r.width)
      words.push({text: e.textContent.trim(), size: drawn(e), boxes: [r]});
    else if (!e.closest('svg'))
      for (const node of texts(e))
        words.push({text: node.data.trim(), size: parseFloat(css(e).fontSize), boxes: lines(node)});
  }
  const apart = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) < 2
    || Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) < 4;
  const meet = (v, w) => v.boxes.some(a => w.boxes.some(b => !apart(a, b)));
  const over = words.flatMap((v, i) => words.slice(i + 1).filter(w => meet(v, w))
    .map(w => `${v.text} | ${w.text}`));
  const small = words.filter(w => w.size < LEAST - 0.05).map(w => `${w.text}: ${w.size}`);
  const more = Math.max(document.documentElement.scrollWidth - innerWidth, 0);
  return {n: words.length, wide, over, small, more};
})()
""".replace("LEAST", str(LEAST))


def faults(browser: Browser, ignored: str = ".hidden") -> dict[str, Any]:
    """What is wrong with the page as it is shown; empty where nothing is.

    Elements that the selector ``ignored`` names are left out: they are for screen readers alone.
    """
    found = browser.find(_MEASURE.replace("IGNORED", ignored))
    assert found.pop("n") > 20, "hardly any words are shown"
    return {name: value for name, value in found.items() if value}
