"""The look that the recorder takes every few seconds: everything that may raise an alert, then who is to be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from loopwright.kit.db import Database
from loopwright.kit.settings import Settings
from loopwright.kit.settings_alerts import AlertSettings, ObjectiveSettings
from loopwright.monitoring.alerts import SEVERITIES, Alerts, Raised, raise_all
from loopwright.monitoring.alerts_anomalies import Anomalies
from loopwright.monitoring.alerts_budgets import spent
from loopwright.monitoring.alerts_counts import Counts
from loopwright.monitoring.alerts_delivery import Outbox
from loopwright.monitoring.alerts_notices import notify, resolve_quiet
from loopwright.monitoring.alerts_rules import broken, histograms_of, kept_of
from loopwright.monitoring.objectives_ledger import Ledger
from loopwright.monitoring.objectives_watch import Missed
from loopwright.monitoring.rounds import Round

ANSWERED: Final = "answered"
_DEFAULTS: Final[Mapping[str, ObjectiveSettings]] = {ANSWERED: ObjectiveSettings()}
_REPEAT: Final = 15.0
"""Seconds after which an open alert that still holds is written again; its words are that old at most."""
_TIDY: Final = 3_600.0
_Key = tuple[int | None, str, str]


def objectives_of(settings: Settings) -> Mapping[str, ObjectiveSettings]:
    """What is configured, or what holds without."""
    asked = settings.monitoring
    return asked.objectives or (_DEFAULTS if asked.alerts.defaults else {})


class Looking:
    """A Round: looks, raises, resolves, and puts notices into the outbox, all in one transaction."""

    name = "alerts"

    def __init__(self, db: Database, settings: Settings) -> None:
        asked: AlertSettings = settings.monitoring.alerts
        self.every = asked.every
        self._db = db
        self._asked = asked
        self._counts = Counts(db)
        self._ledger = Ledger(
            self._counts, objectives_of(settings), keep_s=kept_of(asked.rules), histograms=histograms_of(asked.rules)
        )
        self._missed = Missed(db, self._counts, self._ledger)
        self._anomalies = Anomalies(db, asked.anomalies)
        self._written: dict[_Key, tuple[float, int]] = {}
        self._tidied = float("-inf")

    async def __call__(self) -> None:
        """Look once.

        Raises:
            Unavailable: the database cannot answer now. Nothing is lost: the next look finds what still holds.
        """
        now = datetime.now(UTC)
        hold = self._asked.resolve_after
        await self._ledger.refresh(now)
        raised = [
            *await self._missed(now, hold),
            *broken(self._asked.rules, self._counts, self._ledger, now, hold),
            *await self._anomalies.look(now, hold),
            *await spent(self._db, now, hold),
        ]
        fresh = self._fresh(raised, now.timestamp())
        async with self._db.transaction() as connection:
            await raise_all(connection, fresh)
            await resolve_quiet(connection)
            await notify(connection, self._asked.channels, self._asked.repeat)
        # Only what is committed counts as written.
        self._written |= {_key(each): (now.timestamp(), SEVERITIES.index(each.severity)) for each in fresh}
        await self._tidy(now)

    def _fresh(self, raised: Sequence[Raised], second: float) -> list[Raised]:
        """What is new, worse, or was last written some time ago."""
        known = {key: each for key, each in self._written.items() if second - each[0] < _REPEAT}
        self._written = known
        found = []
        for each in raised:
            before = known.get(_key(each))
            if before is None or SEVERITIES.index(each.severity) > before[1]:
                found.append(each)
        return found

    async def _tidy(self, now: datetime) -> None:
        if now.timestamp() - self._tidied >= _TIDY:
            await Alerts(self._db).tidy(self._asked.keep_days, now)
            self._tidied = now.timestamp()


def rounds(settings: Settings, db: Database) -> list[Round]:
    """What the recorder does again and again for alerts: looking and delivering."""
    found: list[Round] = [Outbox(db, settings)]
    if settings.monitoring.alerts.enabled:
        found.append(Looking(db, settings))
    return found


def _key(raised: Raised) -> _Key:
    return raised.project_id, raised.source, raised.key
