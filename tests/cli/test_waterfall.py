from typing import Any

import pytest

from loopwright.cli.waterfall import draw


def node(depth: int, name: str, at_us: int, duration_us: int, **more: Any) -> dict[str, Any]:
    return {"depth": depth, "name": name, "kind": "chain", "at_us": at_us, "duration_us": duration_us, **more}


def test_a_trace_is_drawn_over_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    draw(
        {"duration_us": 1_000_000},
        [
            node(0, "root", 0, 1_000_000, critical=True),
            node(1, "half \x1b[31mred", 500_000, 500_000, failed=True, cost_usd="0.25"),
            node(20, "deep", -5_000_000, 10**12, unpriced=True),
        ],
    )
    root, half, deep = capsys.readouterr().out.splitlines()
    bar = root.count("━")
    assert bar > 20
    assert half.startswith("  half")
    assert "\x1b" not in half
    assert half.count("─") == bar // 2 == half.index("─") - root.index("━")
    assert half.rstrip().endswith("✗")
    assert "$0.25" in half
    assert "20 deep" in deep
    assert deep.count("─") == bar
    assert "unpriced" in deep
