"""`loopwright guardrails` from outside."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_what_is_found_and_how_it_is_judged_is_shown(run: Run) -> None:
    done = run("guardrails", "test", "write to jane@example.com, you fucking idiot")
    assert done.returncode == 0, done.stderr
    assert "jane@example.com" in done.stdout
    assert "write to <EMAIL_1>, you" in done.stdout
    [line] = [line for line in done.stdout.splitlines() if line.startswith("harassment ")]
    assert line.split()[-1] == "yes"


def test_standard_input_and_json(run: Run) -> None:
    done = run("guardrails", "test", "-", "--json", "--kind", "ip", stdin="jane@example.com at 203.0.113.9")
    shown = json.loads(done.stdout)
    assert shown["found"] == [{"kind": "ip", "start": 20, "end": 31, "text": "203.0.113.9"}]
    assert shown["redacted"] == "jane@example.com at <IP_1>"
    assert shown["moderation"]["flagged"] is False


def test_nothing_found_is_said(run: Run) -> None:
    done = run("guardrails", "test", "hello")
    assert "Nothing personal." in done.stderr
    assert done.returncode == 0


def test_an_unknown_kind_names_the_nearest(run: Run) -> None:
    done = run("guardrails", "test", "x", "--kind", "emial")
    assert done.returncode == 2
    assert "did you mean 'email'" in done.stderr
