"""What happens to telemetry that programs send: read, priced, put. The face of this room for whoever takes it over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, Self

from loopwright.core.money import Price
from loopwright.core.who import Principal
from loopwright.kit.db import Database
from loopwright.kit.seal import Seal
from loopwright.kit.settings import Settings
from loopwright.kit.settings_telemetry import TelemetrySettings
from loopwright.telemetry import jsons, protobuf
from loopwright.telemetry.erasing import forget
from loopwright.telemetry.logs import Logs
from loopwright.telemetry.metrics import Metrics
from loopwright.telemetry.pricing import Prices
from loopwright.telemetry.putting import Putter, Spooling
from loopwright.telemetry.recording import PriceOf
from loopwright.telemetry.taking import Taken, Terms, take
from loopwright.telemetry.wire import Bounds, Decoded, WireLog, WirePoint, WireSpan

Form = Literal["protobuf", "json"]
"""How a request is encoded, and its answer."""
_DAY_NS: Final = 86_400 * 10**9
_INLINE: Final = 16_000
"""Bytes that are read faster than a thread is woken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What came of a request."""

    new: int
    """Items that were not known before."""
    refused: int = 0
    message: str = ""
    """Why; empty when nothing was refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Takes in what one process is sent."""

    settings: TelemetrySettings
    putter: Putter
    logged: Logs
    metrics: Metrics
    price: PriceOf
    keeps: Callable[[Principal, str], bool]
    """Whether texts of what somebody asks of a model may be kept."""
    retention_days: int
    db: Database
    seal: Seal

    @classmethod
    def of(
        cls,
        db: Database,
        settings: Settings,
        spool: Spooling,
        prices: Mapping[tuple[str, str, str], Price | None],
        keeps: Callable[[Principal, str], bool],
    ) -> Self:
        """What the settings make of it; `prices` are those of the configuration, by name, provider and its model."""
        seal, of = Seal.of(settings.encryption), settings.monitoring.telemetry
        putter, texts = Putter(db, spool, seal), settings.calls.payloads
        return cls(
            settings=of,
            putter=putter,
            logged=Logs(db, putter, seal, of.logs_per_day),
            metrics=Metrics(db, of.points),
            price=Prices(prices),
            keeps=keeps if texts else _nothing,
            retention_days=settings.calls.retention_days,
            db=db,
            seal=seal,
        )

    async def forget(self, *, project_id: int | None, **named: Any) -> int:
        """Delete the traces that a call, key, session, tag or trace is part of; how many spans and logs.

        Raises:
            BadRequest: not exactly one of these is named.
            Unavailable: the database cannot answer now; asking again goes on.
        """
        return await forget(self.db, self.seal, project_id=project_id, **named)

    @property
    def bounds(self) -> Bounds:
        """How much of one request is kept."""
        of = self.settings
        return Bounds(items=of.spans, attributes=of.attributes, characters=of.attribute_limit)

    async def spans(self, body: bytes, form: Form, who: Principal, *, here: str = "") -> Accepted:
        """Take an ExportTraceServiceRequest; `here` is the host and port by which its sender reaches us.

        Once this returns they are durable, and sending them again changes nothing.

        Raises:
            BadRequest: it is none.
            Unavailable: they cannot be stored now.
        """
        read = partial(self._read, body, form, self.terms(who, here=here))
        taken = read() if len(body) < _INLINE else await asyncio.to_thread(read)
        new = await self.putter.put(taken.steps, who.key_id) if taken.steps else 0
        return Accepted(new=new, refused=taken.refused, message=taken.message)

    async def logs(self, body: bytes, form: Form, who: Principal) -> Accepted:
        """Take an ExportLogsServiceRequest, as `spans` does."""
        decoded = await asyncio.to_thread(logs_of, body, form, self.bounds)
        new = await self.logged.put(decoded, self.terms(who))
        return Accepted(new=new, refused=decoded.refused, message=decoded.message)

    async def points(self, body: bytes, form: Form, who: Principal) -> Accepted:
        """Take an ExportMetricsServiceRequest, as `spans` does."""
        decoded = await asyncio.to_thread(points_of, body, form, self.bounds)
        new = await self.metrics.put(decoded, self.terms(who))
        return Accepted(new=new, refused=decoded.refused, message=decoded.message)

    def terms(self, who: Principal, *, here: str = "", now_ns: int | None = None) -> Terms:
        """Under which spans of somebody are taken now."""
        now = time.time_ns() if now_ns is None else now_ns
        return Terms(
            who=who,
            price=self.price,
            keeps=partial(self.keeps, who),
            # A day goes once its last span is past retention.
            oldest_ns=now - self.retention_days * _DAY_NS,
            latest_ns=now + int(self.settings.ahead * 1e9),
            here=here,
        )

    def _read(self, body: bytes, form: Form, terms: Terms) -> Taken:
        return take(spans_of(body, form, self.bounds), terms)


def _nothing(_who: Principal, _model: str) -> bool:
    return False


def spans_of(body: bytes, form: Form, bounds: Bounds) -> Decoded[WireSpan]:
    """The spans of a request.

    Raises:
        BadRequest: it is none.
    """
    return jsons.spans_of(body, bounds) if form == "json" else protobuf.spans_of(body, bounds)


def logs_of(body: bytes, form: Form, bounds: Bounds) -> Decoded[WireLog]:
    """The log records of a request.

    Raises:
        BadRequest: it is none.
    """
    return jsons.logs_of(body, bounds) if form == "json" else protobuf.logs_of(body, bounds)


def points_of(body: bytes, form: Form, bounds: Bounds) -> Decoded[WirePoint]:
    """The points of a request.

    Raises:
        BadRequest: it is none.
    """
    return jsons.points_of(body, bounds) if form == "json" else protobuf.points_of(body, bounds)
