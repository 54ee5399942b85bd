"""Every page in a real Chromium, opened once: its policy, its width, its colours, the names of its fields."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.console.conftest import Visitor, signed_in
from tests.console.housing import PAGES, House

pytestmark = pytest.mark.browser
WIDTHS = (1280, 800, 360)
SCHEMES = ("light", "dark")
UNNAMED = """() => [...document.querySelectorAll('main input:not([type=hidden]), main select, main textarea, main button')]
  .filter((e) => !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim())).map((e) => e.outerHTML)"""

FAINT = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = (rgb) => {
    const [r, g, b] = [...rgb].slice(0, 3).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const poor = [];
  for (const element of document.body.querySelectorAll('*')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const box = element.getBoundingClientRect();
    if (!own || box.width < 2 || element.closest('svg, .unseen, [hidden], dialog, .skip, option')) continue;
    let ground = element;
    while (ground && rgba(getComputedStyle(ground).backgroundColor)[3] < 250) ground = ground.parentElement;
    const back = light(rgba(getComputedStyle(ground ?? document.body).backgroundColor));
    const fore = light(rgba(getComputedStyle(element).color));
    const ratio = (Math.max(back, fore) + 0.05) / (Math.min(back, fore) + 0.05);
    if (ratio < 4.5) poor.push(`${element.tagName}.${element.className} ${ratio.toFixed(2)} ${element.textContent.trim().slice(0, 30)}`);
  }
  return poor;
}"""
"""Texts with less than WCAG AA asks for: 4.5 to 1."""


@dataclass
class Seen:
    """What was found on the pages, each with its path."""

    visitor: Visitor
    pages: list[str] = field(default_factory=list)
    headings: dict[str, int] = field(default_factory=dict)
    wide: dict[int, list[str]] = field(default_factory=lambda: {width: [] for width in WIDTHS})
    faint: dict[str, dict[str, Any]] = field(default_factory=lambda: {scheme: {} for scheme in SCHEMES})
    unnamed: dict[str, Any] = field(default_factory=dict)

    def look(self, url: str, path: str) -> None:
        """Open a page as one on a wide screen does, and look at it until it has loaded all it wants."""
        page = self.visitor.page
        page.set_viewport_size({"width": WIDTHS[0], "height": 800})
        page.goto(url + path)
        self.pages.append(path)
        self.headings[path] = page.locator("h1").count()
        self.unnamed |= {path: found} if (found := page.evaluate(UNNAMED)) else {}
        for scheme in SCHEMES:
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            self.faint[scheme] |= {path: found} if (found := page.evaluate(FAINT)) else {}
        root = "document.documentElement"
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            self.wide[width] += [] if page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth") else [path]
        page.wait_for_load_state("networkidle")


@pytest.fixture(scope="module")
def seen(house: House, chromium: Browser) -> Iterator[Seen]:
    long = house.call(key="boss", session="s" * 200, tags={"k" * 64: "v" * 400}, question="w" * 500, client="u" * 200)
    failed = house.call(
        key="boss", outcome="error", status=502, error_code="upstream_broke", error="broke", cost_nano=None
    )
    house.drained()
    context = chromium.new_context()
    seen = Seen(visitor=signed_in(context, house, "boss"))
    for path in (*PAGES, f"/calls/{long}", f"/calls/{failed}"):
        seen.look(house.url, path)
    yield seen
    context.close()


def test_no_page_breaks_its_policy(seen: Seen) -> None:
    assert len(seen.pages) == len(PAGES) + 2
    assert seen.visitor.complaints == []


def test_every_page_has_one_heading(seen: Seen) -> None:
    assert seen.headings == dict.fromkeys(seen.pages, 1)


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_its_window(seen: Seen, width: int) -> None:
    assert seen.wide[width] == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_stands_out_from_its_ground(seen: Seen, scheme: str) -> None:
    assert seen.faint[scheme] == {}


def test_every_field_and_button_has_a_name(seen: Seen) -> None:
    assert seen.unnamed == {}
