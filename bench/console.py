"""Page weight and time to the first rows of the console, in a real Chromium, against a running Loopwright.

Usage: python bench/console.py [--url http://127.0.0.1:4100] [--key lw-…] [--repeats 5]

For each page: bytes over the wire by kind (scripts also uncompressed), requests, and the milliseconds until its rows are
painted, in a browser with an empty cache and with a warm one. Exits 1 when a limit is missed: first rows under 1.5 s, scripts under 60 KB,
styles under 40 KB, nothing from another host.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, Response, sync_playwright

PAGES = {
    "overview": "main h1",
    "calls": "main tbody tr, main .empty",
    "playground": "main textarea",
    "models": "main h1",
}
"""What counts as the first rows of each."""
ROWS_LIMIT_MS = 1500.0
SCRIPTS_LIMIT = 60_000
STYLES_LIMIT = 40_000
_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@dataclass(kw_only=True)
class Load:
    """One page, loaded once."""

    rows_ms: float = 0.0
    requests: int = 0
    wire: dict[str, int] = field(default_factory=dict)
    """Bytes of bodies as sent, by kind."""
    plain: dict[str, int] = field(default_factory=dict)
    """Bytes of bodies uncompressed, by kind."""
    foreign: list[str] = field(default_factory=list)


def load(page: Page, address: str, rows: str) -> Load:
    """Open `address` and wait for what `rows` selects to be painted."""
    result = Load()
    seen: list[Response] = []

    def hear(response: Response) -> None:
        seen.append(response)

    page.on("response", hear)
    page.goto(address, wait_until="commit")
    page.locator(rows).first.wait_for(state="visible")
    # Two frames later it is on the screen; the clock starts where the navigation did.
    result.rows_ms = page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"
    )
    page.wait_for_load_state("networkidle")
    page.remove_listener("response", hear)
    for response in seen:
        kind = response.request.resource_type
        result.requests += 1
        result.plain[kind] = result.plain.get(kind, 0) + len(response.body())
        result.wire[kind] = result.wire.get(kind, 0) + response.request.sizes()["responseBodySize"]
        if urlsplit(response.url).netloc != urlsplit(address).netloc:
            result.foreign.append(response.url)
    return result


def signed_in(browser: Browser, url: str, key: str) -> BrowserContext:
    """A browser profile with a session and an empty cache."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{url}/sign-in")
    page.fill("#key", key)
    page.click("button.main")
    page.wait_for_url("**/overview")
    state = context.storage_state()
    context.close()
    return browser.new_context(storage_state=state)


def measure(browser: Browser, url: str, key: str, repeats: int) -> dict[str, dict[str, object]]:
    """A row of figures for each page."""
    table: dict[str, dict[str, object]] = {}
    for name, rows in PAGES.items():
        cold, warm = [], []
        for _ in range(repeats):
            context = signed_in(browser, url, key)
            page = context.new_page()
            cold.append(load(page, f"{url}/{name}", rows))
            warm.append(load(page, f"{url}/{name}", rows))
            context.close()
        first = cold[0]
        table[name] = {
            "cold_ms": round(statistics.median(one.rows_ms for one in cold), 1),
            "worst_ms": round(max(one.rows_ms for one in cold), 1),
            "warm_ms": round(statistics.median(one.rows_ms for one in warm), 1),
            "requests": first.requests,
            "page_bytes": first.plain.get("document", 0),
            "script_bytes": first.plain.get("script", 0),
            "script_wire": first.wire.get("script", 0),
            "style_bytes": first.plain.get("stylesheet", 0),
            "style_wire": first.wire.get("stylesheet", 0),
            "foreign": first.foreign,
        }
    return table


def misses(table: dict[str, dict[str, object]]) -> list[str]:
    """Which limits are missed, in words."""
    found = []
    for name, row in table.items():
        for figure, limit in (
            ("cold_ms", ROWS_LIMIT_MS),
            ("script_bytes", SCRIPTS_LIMIT),
            ("style_bytes", STYLES_LIMIT),
        ):
            value = row[figure]
            if isinstance(value, int | float) and value > limit:
                found.append(f"{name}: {figure} is {value}, over {limit}")
        if row["foreign"]:
            found.append(f"{name}: asks another host: {row['foreign']}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the console in a real Chromium.")
    parser.add_argument("--url", default=os.environ.get("LOOPWRIGHT_URL", "http://127.0.0.1:4100"))
    parser.add_argument("--key", default=os.environ.get("LOOPWRIGHT_API_KEY"), help="default: .loopwright/admin.key")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no chromium: apt-get install chromium", file=sys.stderr)
        return 1
    home = Path(os.environ.get("LOOPWRIGHT_HOME", ".loopwright"))
    key = options.key or (home / "admin.key").read_text().strip()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=_FLAGS)
        table = measure(browser, options.url.rstrip("/"), key, options.repeats)
        browser.close()
    if options.json:
        print(json.dumps(table, indent=2))
    else:
        print(
            f"{'page':<12}{'first rows':>12}{'worst':>10}{'warm':>10}{'requests':>10}{'page KB':>10}{'JS KB (wire)':>16}{'CSS KB (wire)':>16}"
        )
        for name, row in table.items():
            kb = {figure: int(str(row[figure])) / 1000 for figure in row if figure.endswith(("_bytes", "_wire"))}
            print(
                f"{name:<12}{row['cold_ms']:>9} ms{row['worst_ms']:>7} ms{row['warm_ms']:>7} ms{row['requests']:>10}"
                f"{kb['page_bytes']:>10.1f}{kb['script_bytes']:>8.1f} ({kb['script_wire']:.1f}) "
                f"{kb['style_bytes']:>8.1f} ({kb['style_wire']:.1f})"
            )
    wrong = misses(table)
    for line in wrong:
        print(f"MISSED {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
