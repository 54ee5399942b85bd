"""Alerts, their explanations, silences and channels as JSON, for REST and console alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from loopwright.kit.settings_alerts import ChannelSettings
from loopwright.monitoring.alerts import Alert
from loopwright.monitoring.alerts_delivery import calls_query
from loopwright.monitoring.alerts_silences import Silence
from loopwright.monitoring.causes import Cause, Explanation, Side
from loopwright.monitoring.causes_words import interval, name, said, sentences
from loopwright.monitoring.channels import where


def alert_shown(alert: Alert, projects: Mapping[int, str]) -> dict[str, Any]:
    """An alert; `calls_query` is what `/calls` and `GET /api/calls` take to show its calls."""
    found = asdict(alert)
    found["text"] = found.pop("said")
    found["project"] = None if alert.project_id is None else projects.get(alert.project_id)
    found["state"] = alert.state
    found["calls_query"] = calls_query(alert.calls, alert.resolved_at)
    return found


def explanation_shown(whole: Explanation) -> dict[str, Any]:
    """What explains an alert: sentences for people, and the figures behind them."""
    return {
        "sentences": sentences(whole),
        "mode": whole.mode,
        "what": whole.what,
        "since": whole.since,
        "until": whole.until,
        "before_since": whole.before_since,
        "now": _side(whole, whole.now),
        "before": _side(whole, whole.before),
        "expected": whole.expected,
        "codes": [{"code": code, "now": now, "before": before} for code, now, before in whole.codes],
        "causes": [_cause(whole, each) for each in whole.causes],
        "clipped": whole.clipped,
    }


def _cause(whole: Explanation, each: Cause) -> dict[str, Any]:
    low_high = interval(each.now) if whole.what in ("failed", "slow", "low") else None
    return {
        "dimension": each.dimension,
        "value": each.value,
        "name": name(each.dimension, each.value),
        "also": [
            {"dimension": dimension, "value": value, "name": name(dimension, value)} for dimension, value in each.also
        ],
        "contribution": each.contribution,
        "traffic": each.traffic,
        "now": _side(whole, each.now),
        "before": _side(whole, each.before),
        "expected": each.expected,
        "low": None if low_high is None else low_high[0],
        "high": None if low_high is None else low_high[1],
        "codes": [{"code": code, "calls": calls} for code, calls in each.codes],
        "overlap": each.overlap,
        "calls_query": calls_query(each.calls, None),
        "examples": list(each.examples),
    }


def _side(whole: Explanation, side: Side) -> dict[str, Any]:
    return {"calls": side.calls, "amount": side.amount, "text": said(whole, side) if side.calls else "no calls"}


def silence_shown(silence: Silence, projects: Mapping[int, str]) -> dict[str, Any]:
    """A silence."""
    project = None if silence.project_id is None else projects.get(silence.project_id)
    return {**asdict(silence), "project": project}


def channel_shown(name_of_it: str, settings: ChannelSettings, standing: Mapping[str, Any]) -> dict[str, Any]:
    """A channel and how it does; of its address only the host."""
    return {
        "name": name_of_it,
        "kind": settings.kind,
        "where": where(settings),
        "signed": settings.secret is not None,
        "severity": settings.severity,
        "match": dict(settings.match),
        "resolved": settings.resolved,
        **standing,
    }
