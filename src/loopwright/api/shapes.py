"""What the management REST says, as OpenAPI knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from loopwright.access.keys import OPERATIONS, Key
from loopwright.core.call import Call, CallDetail
from loopwright.core.money import usd
from loopwright.monitoring.score_question import Found


class Shape(BaseModel):
    """Read from our frozen values by attribute."""

    model_config = ConfigDict(from_attributes=True, extra="forbid", protected_namespaces=())


class CallOut(Shape):
    """A call without its texts."""

    id: str
    started_at: datetime
    project_id: int
    key_id: int
    operation: str
    model: str
    target: str
    provider: str
    outcome: str
    status: int
    error_code: str | None
    error: str | None
    finish: str | None
    stream: bool
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    usage_estimated: bool
    cost_usd: str | None = Field(description="A decimal; null when the model's price is not known, which is not zero.")
    price_source: str | None
    ttft_us: int | None = Field(description="Microseconds to the first piece of the answer.")
    tpot_us: float | None = Field(description="Microseconds a token after the first.")
    latency_us: int
    client: str
    session: str | None
    trace_id: str
    span_id: str
    parent_id: str | None
    task: str | None
    variant: str | None
    prompt_version: str | None
    tags: dict[str, str]
    scores: list[dict[str, Any]] | None = Field(default=None, description="With `scores=true`: what is said of it.")


def call_out(call: Call, said: Mapping[str, Sequence[Found]] | None = None) -> CallOut:
    """A call as REST shows it; `said` is what is told of scores, by call."""
    fields = {name: getattr(call, name) for name in CallOut.model_fields if name not in ("cost_usd", "scores")}
    fields["tags"] = dict(call.tags)
    scores = None if said is None else [each.shown() for each in said.get(call.id, ())]
    return CallOut(**fields, cost_usd=None if call.cost_nano is None else usd(call.cost_nano), scores=scores)


class CallsOut(Shape):
    """A page of calls, newest first."""

    calls: list[CallOut]
    next: str | None = Field(description="Pass it as `before` for the next page; null at the end.")


class DepartureOut(Shape):
    """Bytes of a call that left for a target."""

    provider: str
    model: str
    region: str | None
    own: bool = Field(description="A target of ours.")
    bytes: int = Field(description="Of all bodies together.")
    bodies: int = Field(description="How many requests that was.")
    sha256: str = Field(description="Of all bodies, one after another.")
    answered: bool
    at_us: int | None = Field(default=None, description="When the first of them left, in Unix microseconds.")
    redacted: dict[str, int] = Field(default={}, description="What had been replaced by placeholders, by kind.")
    sensitive: str | None = Field(default=None, description="Why only what is ours might answer.")
    exact: bool = Field(
        default=True, description="False: a plug-in did not say what it sent; the question it was given."
    )


class CallDetailOut(Shape):
    """A call with its texts."""

    call: CallOut
    request: dict[str, Any] | None = Field(description="The body in OpenAI's form; null when payloads are not kept.")
    response: dict[str, Any] | None = Field(description="The answer in OpenAI's non-streamed form.")
    sealed: str | None = Field(default=None, description="Why the texts cannot be read: the key they are sealed with.")
    sent: list[DepartureOut] | None = Field(
        default=None, description="Where its bytes went, in order; null when no trail was kept."
    )


def detail_out(detail: CallDetail) -> Response:
    """A call with its texts as REST shows it: as deeply nested as they came, which pydantic would not write."""
    about = CallDetailOut(
        call=call_out(detail.call),
        request=None,
        response=None,
        sealed=detail.sealed,
        sent=None if detail.sent is None else [DepartureOut(**each) for each in detail.sent],
    )
    texts = {"request": detail.request, "response": detail.response}
    return Response(msgspec.json.encode(about.model_dump(mode="json") | texts), media_type="application/json")


class Deleted(Shape):
    """What a deletion removed."""

    deleted: int


class KeyOut(Shape):
    """A key; its secret is never shown again."""

    id: int
    project_id: int
    project: str
    name: str
    prefix: str
    admin: bool
    models: list[str] | None
    tasks: list[str] | None
    operations: list[str] | None
    labels: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


def key_out(key: Key) -> KeyOut:
    """A key as REST shows it."""
    return KeyOut.model_validate(key)


class KeysOut(Shape):
    """Keys, oldest first."""

    keys: list[KeyOut]


class NewKey(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    project: str = "default"
    admin: bool = False
    models: list[str] | None = Field(default=None, description="Names the key may call; null for every model.")
    tasks: list[str] | None = Field(default=None, description="Tasks the key may call; null for every task.")
    operations: list[str] | None = Field(
        default=None, description=f"Routes of /v1 the key may use, of {', '.join(OPERATIONS)}; null for every route."
    )
    labels: list[str] | None = Field(
        default=None,
        description="Of documents with labels, the key finds those with one of these; null for every document.",
    )
    expires_at: datetime | None = Field(default=None, description="When it ends by itself; null for never.")


class KeyMade(Shape):
    """A key and its secret, this once."""

    key: KeyOut
    secret: str


class ProjectOut(Shape):
    """A tenant."""

    id: int
    name: str
    created_at: datetime


class ProjectsOut(Shape):
    """Projects by name."""

    projects: list[ProjectOut]


class NewProject(BaseModel):
    """A project to make."""

    model_config = ConfigDict(extra="forbid")

    name: str


class EngineOut(Shape):
    """A local engine, as the supervisor last saw it."""

    name: str
    kind: str
    healthy: bool
    pid: int | None
    restarts: int
    context: int
    slots: int
    last_exit: str | None


class Status(Shape):
    """How the house is."""

    version: str
    started_at: datetime
    uptime_s: float
    workers: int
    database: str = Field(description="`up`, or what is wrong with it.")
    database_where: str
    engines: list[EngineOut]
    models: int
    waiting_bytes: int = Field(description="Bytes of calls on this machine that wait for the database.")
    waiting_seconds: float = Field(description="Age of the oldest of them; 0 when none waits.")
