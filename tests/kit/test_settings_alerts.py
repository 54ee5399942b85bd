"""Objectives, rules and channels as they are configured: what cannot be meant is said, and no secret with it."""

from pathlib import Path

import pytest

from loopwright.core.errors import SettingsError
from loopwright.kit.settings_file import load

GOOD = """
monitoring:
  objectives:
    answers: {goal: 0.999, by: []}
    quick: {kind: latency, under: 1500ms, goal: 0.95}
    good: {kind: quality, score: groundedness, at_least: 0.7}
  alerts:
    url: https://llm.example.com/
    repeat: 1h
    rules:
      silent: {measure: requests, below: 1, over: 15m}
    channels:
      ops: {url: "https://example.com/hooks/${TOKEN}", secret: "${TOKEN}", match: {model: "gpt-*"}}
      post: {kind: email, host: smtp.example.com, sender: a@example.com, to: [b@example.com]}
"""


def read(tmp_path: Path, text: str) -> str:
    """The complaint, or nothing."""
    path = tmp_path / "loopwright.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        load(path, env={"TOKEN": "s3cr3t-token"})
    except SettingsError as error:
        return str(error)
    return ""


def test_what_is_meant_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "loopwright.yaml"
    path.write_text(GOOD, encoding="utf-8")
    asked = load(path, env={"TOKEN": "s3cr3t-token"}).monitoring
    assert asked.objectives["quick"].under == 1.5
    assert asked.alerts.rules["silent"].over == 900
    assert asked.alerts.channels["ops"].url == "https://example.com/hooks/s3cr3t-token"
    assert "s3cr3t" not in repr(asked)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("objectives: {a: {kind: latency}}", "under is missing"),
        ("objectives: {a: {under: 1s}}", "stands beside kind errors"),
        ("objectives: {a: {kind: quality}}", "score is missing"),
        ("objectives: {a: {kind: cost, usd: 0}}", "more than nothing"),
        ("objectives: {a: {at_least: 1}}", "stands beside kind errors"),
        ("objectives: {a: {goal: 1.5}}", "goal"),
        ("objectives: {'a b': {}}", "not a name"),
        ("alerts: {rules: {a: {measure: errors}}}", "neither of above and below"),
        ("alerts: {rules: {a: {measure: errors, above: 1, below: 2}}}", "both of above and below"),
        ("alerts: {rules: {a: {measure: errors, above: 1, over: 1m}}}", "over"),
        ("alerts: {channels: {a: {}}}", "url is missing"),
        ("alerts: {channels: {a: {url: ftp://x/TOKENS3}}}", "not an address"),
        ("alerts: {channels: {a: {url: 'http://169.254.169.254/TOKENS3'}}}", "credentials"),
        ("alerts: {channels: {a: {kind: slack, url: 'https://h/', secret: x}}}", "stands beside kind slack"),
        ("alerts: {channels: {a: {kind: email, host: h, sender: a@b, to: [c]}}}", "name@example.com"),
        ("alerts: {channels: {a: {kind: email}}}", "host is missing"),
        (
            "alerts: {channels: {a: {kind: email, host: h, sender: a@b, to: [c@d], user: u, security: none}}}",
            "allowed: tls",
        ),
        ("alerts: {url: nowhere}", "https://HOST"),
    ],
)
def test_what_cannot_be_meant_is_said(tmp_path: Path, section: str, says: str) -> None:
    complaint = read(tmp_path, f"monitoring:\n  {section}\n")
    assert says in complaint
    assert "TOKENS3" not in complaint
