"""An explanation in plain words. Names that come from calls are quoted as they are: whoever shows them escapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from loopwright.monitoring.causes import Cause, Explanation, Side
from loopwright.monitoring.objectives import wilson_low

_COUNTED: Final[Mapping[str, tuple[str, str]]] = {
    "failed": ("failures", "failed"),
    "slow": ("slow calls", "were slow"),
    "low": ("low scores", "scored low"),
}
"""What is counted in calls: as a noun, and as what they did."""
_AMOUNTS: Final[Mapping[str, str]] = {"spend": "spend", "tokens": "tokens", "calls": "calls", "cost": "cost"}
_SAME: Final = 0.8
_TOLD: Final = 4
_NONE: Final = 5
_Z: Final = 1.96


def sentences(whole: Explanation) -> list[str]:
    """What happened, what explains most of it with its evidence, and what else does; the first says the most."""
    if not whole.now.calls:
        return ["None of these calls are on record any more, or none have come in yet."]
    found = [_overall(whole)]
    if not whole.causes:
        return [*found, *_codes(whole), _nothing(whole)]
    found += [_first(whole, whole.causes[0]), *_codes(whole)]
    found += [_other(whole, each, whole.causes[0]) for each in whole.causes[1:_TOLD]]
    return found


def interval(side: Side) -> tuple[float, float] | None:
    """Wilson's 95 % interval of a share of calls; None of none."""
    if not side.calls:
        return None
    bad = min(round(side.amount), side.calls)
    return wilson_low(bad, side.calls, _Z), 1.0 - wilson_low(side.calls - bad, side.calls, _Z)


def said(whole: Explanation, side: Side) -> str:
    """`41 of 50`, `$12.30`, `$0.02 a call`."""
    if whole.what in _COUNTED:
        return f"{side.amount:,.0f} of {side.calls:,}"
    if whole.what == "cost":
        return f"${side.amount / side.calls:.3g} a call" if side.calls else "nothing"
    return money(side.amount) if whole.what == "spend" else f"{side.amount:,.0f}"


def money(amount: float) -> str:
    """US dollars."""
    return f"${amount:,.2f}" if amount >= 1 or not amount else f"${amount:.3g}"


def name(dimension: str, value: str) -> str:
    """`target gpt-4o`, `tag team=search`."""
    if dimension.startswith("tag:"):
        return f"tag {dimension.removeprefix('tag:')}={value}"
    return f"{dimension.replace('_', ' ')} {value}"


def _overall(whole: Explanation) -> str:
    if whole.what in _COUNTED:
        did = _COUNTED[whole.what][1]
        return f"{said(whole, whole.now)} calls {did}; the day before, {_earlier(whole)}."
    if whole.what == "cost":
        return f"{whole.now.calls:,} calls cost {said(whole, whole.now)}; the day before, {_earlier(whole)}."
    hours = (whole.until - whole.since).total_seconds() / 3600
    expected = money(whole.expected) if whole.what == "spend" else f"{whole.expected:,.0f}"
    noun = {"spend": "spent", "tokens": "tokens", "calls": "calls"}[whole.what]
    return f"{said(whole, whole.now)} {noun} in {hours:.3g} hours; at the pace of the day before, {expected}."


def _first(whole: Explanation, cause: Cause) -> str:
    percent = f"{100 * min(cause.contribution, 1.0):.0f} %"
    alike = f" ({', '.join(name(*each) for each in cause.also[:3])})" if cause.also else ""
    who = name(cause.dimension, cause.value) + alike
    if whole.what in _COUNTED:
        noun, did = _COUNTED[whole.what]
        line = (
            f"{percent} of the added {noun} are calls of {who}, which made {100 * cause.traffic:.0f} % of the calls: "
        )
        line += f"{said(whole, cause.now)} of them {did}; before, {_before(whole, cause.before)}."
        return line + _coded(cause)
    noun = _AMOUNTS[whole.what]
    if whole.what == "cost":
        return f"{percent} of the added cost is calls of {who}: {said(whole, cause.now)}; before, {_before(whole, cause.before)}."
    expected = money(cause.expected) if whole.what == "spend" else f"{cause.expected:,.0f}"
    verb = "is" if whole.what == "spend" else "are"
    return (
        f"{percent} of the added {noun} {verb} of {who}: {said(whole, cause.now)}, where {expected} was to be expected."
    )


def _earlier(whole: Explanation) -> str:
    return said(whole, whole.before) if whole.before.calls else "there were no calls"


def _before(whole: Explanation, side: Side) -> str:
    return said(whole, side) if side.calls else "it had no calls"


def _coded(cause: Cause) -> str:
    if not cause.codes:
        return ""
    code, count = cause.codes[0]
    return f" {count:,} of the {cause.now.amount:,.0f} fail with {code}."


def _codes(whole: Explanation) -> list[str]:
    known = [each for each in whole.codes if each[1] > each[2] * whole.now.calls / max(whole.before.calls, 1)]
    if not known or (whole.causes and whole.causes[0].codes):
        return []
    told = ", ".join(f"{code} {now:,} (before {before:,})" for code, now, before in known[:3])
    return [f"They fail with: {told}."]


def _other(whole: Explanation, cause: Cause, first: Cause) -> str:
    line = _first(whole, cause)
    if cause.overlap is not None and cause.overlap >= _SAME:
        return f"{line} Most of them ({100 * cause.overlap:.0f} %) are also of {name(first.dimension, first.value)}."
    return line


def _nothing(whole: Explanation) -> str:
    if whole.now.amount <= whole.expected:
        return "That is no more than before: there is nothing to explain."
    if whole.now.calls < _NONE:
        return "Too few calls to tell what they have in common."
    return (
        "Nothing tells them from the others: no target, provider, model, task, variant, prompt version, key, client or tag "
        "holds more of the change than of the calls."
    )
