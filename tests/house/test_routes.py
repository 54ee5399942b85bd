"""Every route the server answers stands in docs/api.md, and nothing that it does not."""

from __future__ import annotations

import re

from tests.house.sources import PACKAGE, ROOT

ROUTER = re.compile(r'@router\.(get|post|put|patch|delete)\(\s*"([^"]*)"')
MOUNTED = re.compile(r'\bRoute\(\s*"([^"]+)"[^\n]*?(?:methods=\["([A-Z]+)"\])?\)')
HOT = re.compile(r'^\s+"(/v1/[a-z_/]+)": (?!\{)', re.MULTILINE)


def answered() -> set[str]:
    """`GET /api/calls/{call_id}` and so on, read from the source of `api/`."""
    found: set[str] = set()
    for path in (PACKAGE / "api").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        prefix = re.search(r'APIRouter\(prefix="([^"]*)"', text)
        start = prefix[1] if prefix else ""
        found |= {f"{verb.upper()} {start}{route.replace(':path', '')}" for verb, route in ROUTER.findall(text)}
        found |= {f"{verb or 'GET'} {re.sub(r':path', '', route)}" for route, verb in MOUNTED.findall(text)}
        found |= {f"POST {route}" for route in HOT.findall(text)}
    return found


def written() -> set[str]:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    return set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)`", text))


def test_every_route_is_written_down() -> None:
    assert len(answered()) >= 15
    assert not answered() - written()


def test_no_route_is_written_down_that_is_not_there() -> None:
    assert not written() - answered() - {"GET /api/openapi.json"}
