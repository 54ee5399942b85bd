"""An evaluation as a report: Markdown for people and pull requests, JUnit XML for CI. Texts in it come from strangers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.etree import ElementTree as ET

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKS: Final = re.compile(r"([\\`*_{}\[\]<>#|~])")
_SHOWN: Final = 10
"""Slices and problems that a report lists."""
_SIGNS: Final[Mapping[str | None, str]] = {"pass": "✅", "fail": "❌", "not enough evidence": "⚠️"}


def markdown(told: Mapping[str, Any]) -> str:
    """A report of `Evaluation.shown()` in GitHub's Markdown."""
    findings: Mapping[str, Any] = told["findings"] or {}
    gate = findings.get("gate")
    lines = [f"## {_text(told['name'])}", ""]
    if gate is not None:
        lines += [f"{_SIGNS.get(gate['verdict'], '')} **{gate['verdict']}**: {_text(gate['reason'])}", ""]
        if gate["examples_needed"]:
            lines += [f"About {gate['examples_needed']:,} examples would decide it.", ""]
    lines += [_summary(told), ""]
    if told["problem"]:
        lines += [f"> {told['status']}: {_text(told['problem'])}", ""]
    if findings:
        lines += _targets(findings) + _comparisons(findings) + _criteria(findings) + _slices(findings)
    return "\n".join(lines).rstrip() + "\n"


def junit(told: Mapping[str, Any], *, allow_uncertain: bool = False) -> str:
    """A report of `Evaluation.shown()` as JUnit XML.

    Each criterion of the gate is a test case. One that lacks evidence is a failure of its own type, or skipped where
    that is allowed. Answers that did not come and evaluators that raised are cases, too.
    """
    findings: Mapping[str, Any] = told["findings"] or {}
    gate = findings.get("gate") or {}
    suites = ET.Element("testsuites", {"name": "loopwright"})
    suite = ET.SubElement(suites, "testsuite", {"name": _xml(told["name"]), "timestamp": _xml(told["created_at"])})
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}

    def case(name: str, where: str, outcome: str = "", kind: str = "", text: str = "") -> None:
        counts["tests"] += 1
        element = ET.SubElement(suite, "testcase", {"name": _xml(name), "classname": _xml(where), "time": "0"})
        if outcome:
            counts[{"failure": "failures", "error": "errors"}.get(outcome, outcome)] += 1
            attributes = {"message": _xml(text)} if outcome == "skipped" else {"message": _xml(text), "type": kind}
            ET.SubElement(element, outcome, attributes).text = None if outcome == "skipped" else _xml(text)

    case("runs to its end", _xml(told["id"]), *_ended(told))
    for each in gate.get("criteria", []):
        name = f"{each['evaluator']} {'against' if each['kind'] == 'comparison' else 'reaches'} {each['against']}"
        if each["verdict"] == "pass":
            case(name, each["target"])
        elif each["verdict"] == "fail":
            case(name, each["target"], "failure", "fail", each["reason"])
        else:
            case(name, each["target"], *_lacking(allow_uncertain=allow_uncertain), each["reason"])
    for each in gate.get("informing", []):
        case(f"{each['evaluator']} may gate", "evaluators", "skipped", "", each["why"])
    if gate.get("verdict") == "not enough evidence" and not any(
        each["verdict"] == "not enough evidence" for each in gate["criteria"]
    ):
        case("the gate decides", told["id"], *_lacking(allow_uncertain=allow_uncertain), gate["reason"])
    if told["raised"]:
        case("evaluators find", "evaluators", "skipped", "", f"{told['raised']:,} scores: the evaluator raised")
    for name, count in counts.items():
        suite.set(name, str(count))
        suites.set(name, str(count))
    suite.set("time", f"{told['seconds'] or 0:.3f}")
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def as_json(told: Mapping[str, Any]) -> str:
    """A report of `Evaluation.shown()` as JSON."""
    return json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def _ended(told: Mapping[str, Any]) -> tuple[str, str, str]:
    if told["status"] == "completed":
        return "", "", ""
    done = f"{told['done']:,} of {told['total']:,} examples"
    return "error", told["status"], f"{told['status']} after {done}: {told['problem'] or 'no reason told'}"


def _lacking(*, allow_uncertain: bool) -> tuple[str, str]:
    return ("skipped", "") if allow_uncertain else ("failure", "not enough evidence")


def _summary(told: Mapping[str, Any]) -> str:
    parts = [f"{told['done']:,} of {told['total']:,} examples of `{_code(told['dataset'])}`", f"${told['cost_usd']}"]
    if told["seconds"] is not None:
        parts.append(f"{told['seconds']:.1f} s")
    if told["cached"]:
        parts.append(f"{told['cached']:,} answers were paid for before (${told['saved_usd']})")
    if told["unanswered"]:
        parts.append(f"**{told['unanswered']:,} without an answer**")
    if told["missing"]:
        parts.append(f"**{told['missing']:,} scores missing**, {told['raised']:,} because the evaluator raised")
    if told["unpriced"]:
        parts.append(f"{told['unpriced']:,} unpriced")
    return " · ".join(parts)


def _targets(findings: Mapping[str, Any]) -> list[str]:
    names = [each["name"] for each in findings["evaluators"]]
    head = ["target", *(_text(name) for name in names), "cost each", "p50", "p95", "no answer"]
    rows = []
    for target in findings["targets"]:
        scores = [_figure(target["scores"][name]) for name in names]
        seconds = [_seconds(target[f"latency_{which}_s"]) for which in ("p50", "p95")]
        cost = "unpriced" if target["cost_each_usd"] is None else f"${target['cost_each_usd']}"
        rows.append([_text(target["name"]), *scores, cost, *seconds, f"{target['unanswered']:,}"])
    return [*_table(head, rows, right=len(head) - 1), ""]


def _comparisons(findings: Mapping[str, Any]) -> list[str]:
    if not findings["comparisons"]:
        return []
    head = [
        "against the baseline",
        "evaluator",
        "effect",
        "95 % interval",
        "p (Holm)",
        "won / lost / same",
        "worst slice",
    ]
    rows = []
    for each in findings["comparisons"]:
        told = each["effect"] is not None
        worst = each["worst_slice"]
        rows.append(
            [
                _text(each["target"]),
                _text(each["evaluator"]),
                f"{each['effect']:+.4f}" if told else "-",
                f"{each['low']:+.4f} … {each['high']:+.4f}" if told else "-",
                f"{each['p_holm']:.4f}" if each["p_holm"] is not None else "-",
                f"{each['wins']:,} / {each['losses']:,} / {each['ties']:,}",
                "" if worst is None else f"{_text(worst['slice'])} {worst['effect']:+.3f} (n = {worst['n']:,})",
            ]
        )
    return [*_table(head, rows, right=0), ""]


def _criteria(findings: Mapping[str, Any]) -> list[str]:
    gate = findings["gate"]
    if gate is None:
        return []
    rows = [
        [
            _SIGNS.get(each["verdict"], "") + " " + each["verdict"],
            _text(each["target"]),
            _text(each["evaluator"]),
            _text(each["reason"]),
        ]
        for each in gate["criteria"]
    ]
    rows += [["informs only", "", _text(each["evaluator"]), _text(each["why"])] for each in gate["informing"]]
    return [*_table(["gate", "target", "evaluator", "why"], rows, right=0), ""] if rows else []


def _slices(findings: Mapping[str, Any]) -> list[str]:
    rows = []
    for target in findings["targets"]:
        for name, figure in target["scores"].items():
            worst = figure.get("worst_slice")
            if worst is not None:
                rows.append(
                    [_text(target["name"]), _text(name), _text(worst["slice"]), _figure(worst), f"{worst['gap']:+.3f}"]
                )
    if not rows:
        return []
    head = ["target", "evaluator", "worst slice", "there", "against the whole"]
    return [*_table(head, rows[: 4 * _SHOWN], right=0), ""]


def _figure(figure: Mapping[str, Any]) -> str:
    if figure["mean"] is None:
        return "-"
    missing = f", {figure['missing']:,} missing" if figure["missing"] else ""
    return f"{figure['mean']:.3f} ({figure['low']:.3f} … {figure['high']:.3f}, n = {figure['n']:,}{missing})"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.2f} s"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: int) -> list[str]:
    """`right`: how many of the last columns are numbers."""
    marks = [":--" if at < len(head) - right else "--:" for at in range(len(head))]
    return [f"| {' | '.join(each)} |" for each in (head, marks, *rows)]


def _text(value: object) -> str:
    """A text of strangers that stays a text in Markdown."""
    return _MARKS.sub(r"\\\1", " ".join(str(value).split()))[:500]


def _code(value: str) -> str:
    return value.replace("`", "'")


def _xml(value: object) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", str(value))[:4_000]
