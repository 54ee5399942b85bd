"""Settings of objectives, of rules that watch for themselves, and of who is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from loopwright.kit.settings_marks import Between, Dollars, Port, Positive, Seconds, Secret

SeverityName = Literal["info", "warning", "critical"]
Apart = Literal["model", "target", "provider", "task", "variant", "prompt_version"]
Measure = Literal[
    "requests", "errors", "error_rate", "refused", "input_tokens", "output_tokens", "tokens", "usd", "usd_per_request",
    "latency_p50", "latency_p95", "latency_p99", "ttft_p50", "ttft_p95", "ttft_p99", "tpot_p95",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveSettings:
    """What share of calls is to be good, of all projects or one; how fast the rest is used up decides when to tell."""

    kind: Literal["errors", "latency", "ttft", "tpot", "cost", "quality"] = "errors"
    """What makes a call bad: it failed; it took longer than `under`; it was dearer than `usd`; its score is under `at_least`."""
    goal: Annotated[float, Between(low=0.5, high=0.99999)] = 0.99
    """Share of calls that are to be good."""
    under: Seconds | None = None
    """Of `latency`, `ttft` (first piece) and `tpot` (each token after it): how long a good call may take."""
    usd: Dollars | None = None
    """Of `cost`: US dollars a call may cost on average in any five minutes."""
    score: str | None = None
    """Of `quality`: name of the score."""
    at_least: float | None = None
    """Of `quality`: the lowest score that is good; not set, the evaluator's own verdict."""
    project: str | None = None
    """Only of this project; not set is each project for itself."""
    model: str | None = None
    """Only calls of this name."""
    task: str | None = None
    """Only calls of this task."""
    by: tuple[Apart, ...] = ("model",)
    """Held apart for each of these; an empty list is all calls together."""
    days: Annotated[int, Between(low=1, high=90)] = 30
    """Days (UTC, today included) over which it is to hold."""
    minimum: Positive = 5
    """Bad calls there must be before anybody is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSettings:
    """A bound on something measured: over it (or under it) is an alert."""

    measure: Measure = "error_rate"
    """What: a sum over the time, a share, or a percentile in seconds."""
    above: float | None = None
    """Tell when it is more."""
    below: float | None = None
    """Tell when it is less; `requests` below 1 is no data."""
    over: Annotated[float, Between(low=300, high=21_600, unit="seconds")] = 300.0
    """The last so many seconds, to the five minutes."""
    project: str | None = None
    """Only of this project; not set is each project for itself."""
    model: str | None = None
    """Only calls of this name."""
    task: str | None = None
    """Only calls of this task."""
    by: tuple[Apart, ...] = ()
    """Each of these for itself; by default all together."""
    minimum: Annotated[int, Between(low=0)] = 5
    """Requests there must be in that time; for `above` only."""
    severity: SeverityName = "warning"
    """How bad it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalySettings:
    """Spend, tokens and traffic by the hour, against what this hour of the week was like before."""

    enabled: bool = True
    """Whether to look."""
    measures: tuple[Literal["spend", "tokens", "traffic"], ...] = ("spend", "tokens", "traffic")
    """Of what."""
    confidence: Annotated[float, Between(low=0.9, high=0.999999)] = 0.999
    """Of the interval that is expected: at 0.999 one hour in a thousand lies outside by chance."""
    factor: Annotated[float, Between(low=1, high=1_000)] = 1.5
    """And how many times what was expected it must be (or one part of it, when it is less)."""
    minimum_requests: Positive = 50
    """Requests an hour must have had, or have been expected to have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    """Where notices go."""

    kind: Literal["webhook", "slack", "email"] = "webhook"
    """`webhook`: signed JSON; `slack`: what Slack's incoming webhooks take, and Mattermost's; `email`: by SMTP."""
    url: Secret | None = field(default=None, repr=False)
    """Of `webhook` and `slack`; it is never shown. Better `${NAME}` than the address itself."""
    secret: Secret | None = field(default=None, repr=False)
    """Of `webhook`: notices are signed with it (HMAC-SHA256)."""
    severity: SeverityName = "info"
    """The least that is told here."""
    match: Mapping[str, str] = field(default_factory=dict)
    """Only alerts whose labels are so: `{project: support, model: "gpt-*"}`."""
    resolved: bool = True
    """Tell also when it is over."""
    link_local: bool = False
    """Let it be at a link-local or metadata address."""
    host: str | None = None
    """Of `email`: the SMTP server."""
    port: Port = 587
    """Of `email`: its port."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """Of `email`: how the connection is kept private; `none` only within a house."""
    user: str | None = None
    """Of `email`: who signs in; not set is nobody."""
    password: Secret | None = field(default=None, repr=False)
    """Of `email`: with `user`."""
    sender: str | None = None
    """Of `email`: the address it comes from."""
    to: tuple[str, ...] = ()
    """Of `email`: who gets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """What is looked for every few seconds in the recorder, and who is told."""

    enabled: bool = True
    """Whether anything is looked for."""
    every: Annotated[float, Between(low=1, high=300, unit="seconds")] = 4.0
    """Seconds from one look to the next."""
    url: str | None = None
    """Where people reach the console, for links in notices: `https://llm.example.com`; not set is this machine's own."""
    repeat: Annotated[float, Between(low=60, high=604_800, unit="seconds")] = 14_400.0
    """Seconds after which an alert that still holds is told again, unless somebody has acknowledged it."""
    resolve_after: Annotated[float, Between(low=30, high=86_400, unit="seconds")] = 120.0
    """Seconds for which it must have been quiet before an alert resolves."""
    keep_days: Annotated[int, Between(low=1, high=3_650)] = 90
    """Days that resolved alerts are kept."""
    defaults: bool = True
    """Without any objective of yours: 99 % of the calls of each model are to be answered."""
    anomalies: AnomalySettings = field(default_factory=AnomalySettings)
    """What is unlike before."""
    rules: Mapping[str, RuleSettings] = field(default_factory=dict)
    """Bounds, each by a name."""
    channels: Mapping[str, ChannelSettings] = field(default_factory=dict)
    """Who is told, each by a name."""
