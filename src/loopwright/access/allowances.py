"""Limits as one worker keeps them: leased from the database ahead of need, reserved and settled in memory.

A request is let in without asking anybody while the leases on its limits have room. One task renews them in the
background, all in one transaction. The arithmetic is in `account.py`, the database's half in `sql/`.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from loopwright.access.account import NEVER, Account, Ask, Grant
from loopwright.access.limits import CHANNEL, CONCURRENT, MONEY, Limit, Limits
from loopwright.access.pool import Asking, Pool, Reservation, Settled
from loopwright.access.refusals import refusal
from loopwright.core.errors import Unavailable
from loopwright.kit.db import Database
from loopwright.kit.settings import LimitSettings

Sizes = tuple[int, int, int, int]
"""Requests, tokens, concurrent requests and nanodollars of one request."""
_TICK: Final = 1.0
"""Seconds between reports of what was spent."""
_PAUSE: Final = 0.005
"""Seconds between two renewals: what comes up meanwhile shares the next."""
_RECALL: Final = 0.02
"""Seconds that other workers are given to return what they do not need before it is asked for again."""
_SHUT: Final = 0.25
"""Seconds for which a limit that is used up is not asked for again."""
_RETRY: Final = 0.5
_POLL: Final = 10.0
_MARGIN: Final = 0.9
"""A worker lets a lease go before the database does."""
_LONGEST: Final = 7200.0
"""Seconds after which a request in flight was forgotten by whoever should have settled it."""
_RENEW: Final = "select * from renew_leases(%s, %s, %s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])"
_NONE: Final[tuple[Pool, ...]] = ()
_log = logging.getLogger(__name__)


class Allowances:
    """The limits of one worker. Every reservation ends in `settle`, whatever became of the request."""

    def __init__(
        self,
        db: Database,
        settings: LimitSettings,
        holder: uuid.UUID,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`holder` names this worker to the others, and is that of its spool."""
        self._db = db
        self._limits = Limits(db)
        self._settings = settings
        self._holder = holder
        self._clock = clock
        self._pools: dict[int, Pool] = {}
        self._of_key: dict[int, tuple[Pool, ...]] = {}
        self._of_project: dict[int, tuple[Pool, ...]] = {}
        self._of_tag: dict[tuple[int, str, str], tuple[Pool, ...]] = {}
        self._tagging: frozenset[int] = frozenset()
        """Projects with limits of tags."""
        self._open: dict[str, Reservation] = {}
        self._listed: set[Account] = set()
        self._urgent: set[Account] = set()
        self._seconds: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._round = asyncio.Event()
        self._down = False
        self._sent_at = NEVER
        """When the renewal now under way was sent."""
        self.rounds = 0
        """Transactions made to renew leases."""

    # ---- on the way of a request: memory only ----

    def of(self, request: Asking) -> tuple[Pool, ...]:
        """The limits a request counts against; most often none."""
        who = request.who
        found = self._of_key.get(who.key_id, _NONE)
        project = self._of_project.get(who.project_id)
        if project is not None:
            found += project
        if request.tags and who.project_id in self._tagging:
            for name, value in request.tags.items():
                found += self._of_tag.get((who.project_id, name, value), _NONE)
        return found

    def reserve(self, request: Asking, pools: tuple[Pool, ...], sizes: Sizes) -> Account | None:
        """Reserve `sizes` on all `pools`, or nothing: then the answer is the window that has no room."""
        if request.id in self._open:
            return None
        now = self._clock()
        second = request.started_ns // 1_000_000_000
        held: list[tuple[Account, int]] = []
        for pool in pools:
            amount = sizes[pool.unit]
            account = pool.account
            if not account.starts <= second < account.ends:
                account = pool.at(second, now)
            # What is sure to be free passes a budget that is used up.
            if amount and (account.spent + account.reserved + amount > account.ceiling or now >= account.expires):
                return account
            held.append((account, amount))
        for account, amount in held:
            account.reserved += amount
            if account.ceiling - account.spent - account.reserved < account.low:
                account.low = 0
                self._urge(account)
            elif not account.listed:
                account.listed = True
                self._listed.add(account)
        self._open[request.id] = Reservation(held, now)
        return None

    def settle(self, call: Settled) -> None:
        """A call has ended: what it used takes the place of what was reserved. Harmless for calls without limits."""
        reservation = self._open.pop(call.id, None)
        if reservation is None:
            return
        used = (1, call.input_tokens + call.output_tokens, 0, call.cost_nano or 0)
        for account, amount in reservation.held:
            account.reserved -= amount
            account.spent += used[account.unit]
            if not account.listed:
                account.listed = True
                self._listed.add(account)
        before = self._seconds.get(call.model)
        took = call.latency_us / 1e6
        if before is not None or len(self._seconds) < 10_000:
            self._seconds[call.model] = took if before is None else before + (took - before) / 8

    def seconds(self, model: str) -> float:
        """How long a call of `model` takes, by the last ones that were limited; 10 s before the first."""
        return self._seconds.get(model, 10.0)

    def warning(self, pools: tuple[Pool, ...]) -> str:
        """What a client should know of budgets near their end; empty when none is."""
        near = [
            f"{pool.limit.kind} {pool.account.used * 100 // max(pool.account.amount, 1)}% of "
            f"{pool.limit.shown(pool.account.amount)}"
            for pool in pools
            if pool.warning
        ]
        return ", ".join(near)

    # ---- when there is no room at once ----

    async def admit(self, request: Asking, pools: tuple[Pool, ...], sizes: Sizes) -> None:
        """Reserve, waiting for leases for `limits.wait` seconds at most.

        Raises:
            Busy: a rate is used up for now, or what is left is reserved by requests in flight.
            Spent: a budget is used up.
            Unavailable: the database does not answer, and what may be used without it is used up.
        """
        deadline = self._clock() + self._settings.wait
        while (account := self.reserve(request, pools, sizes)) is not None:
            amount = sizes[account.unit]
            now = self._clock()
            if account.is_shut(amount, now):
                raise refusal(account, amount)
            if self._down:
                self._cope(account, amount)
                continue
            if not await self._answered(account, amount):
                self._down = True
                continue
            now = self._clock()
            if account.fits(amount, now) or account.free >= amount:
                if now < deadline:
                    continue
            elif account.idle and now + _RECALL < deadline:
                await asyncio.sleep(_RECALL)
                continue
            account.shut(amount, now + _SHUT)
            raise refusal(account, amount)

    async def _answered(self, account: Account, amount: int) -> bool:
        """Wait until the database has answered an ask that had this request in it; False when it does not."""
        number = account.asks + 1
        last = self._clock() + 10 * self._settings.wait
        account.demand += amount
        try:
            self._urge(account)
            while account.answers < number:
                now = self._clock()
                # Only a database that was asked long enough ago is down: a busy worker is none of its fault.
                if self._down or now - self._sent_at >= self._settings.wait or now >= last:
                    return False
                try:
                    async with asyncio.timeout(self._settings.wait / 4):
                        await self._round.wait()
                except TimeoutError:
                    continue
            return True
        finally:
            account.demand -= amount

    def _cope(self, account: Account, amount: int) -> None:
        """Without the database: the documented rule."""
        if self._settings.on_outage == "admit":
            account.cope(self._settings.outage_grace)
            self._urge(account)
            if account.fits(amount, self._clock()):
                return
        raise Unavailable(
            f"the limits of {account.limit.scope} cannot be checked: the database does not answer; try again in a moment",
            retry_after=2.0,
        )

    def _urge(self, account: Account) -> None:
        self._urgent.add(account)
        self._wake.set()

    # ---- in the background ----

    async def load(self) -> None:
        """Read all limits. What is held on those that stay is kept.

        Raises:
            Unavailable: the database does not answer; what was known stays known.
        """
        limits = await self._limits.all()
        now, second = self._clock(), int(time.time())
        pools: dict[int, Pool] = {}
        for limit in limits:
            pool = pools[limit.id] = self._pools.get(limit.id) or Pool(limit, second, now)
            if pool.limit != limit:
                pool.limit = limit
                self._urge(pool.account)
        self._pools = pools
        every = list(pools.values())
        self._of_key = _grouped(every, lambda limit: limit.key_id)
        self._of_project = _grouped(
            every, lambda limit: limit.project_id if limit.key_id is None and limit.tag is None else None
        )
        self._of_tag = _grouped(every, lambda limit: None if limit.tag is None else (limit.project_id, *limit.tag))
        self._tagging = frozenset(project_id for project_id, _, _ in self._of_tag)

    async def watch(self) -> None:
        """Renew leases, and hear of changed limits and of workers in need, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._db.listen(CHANNEL, self._heard, reconnected=self.load))
            group.create_task(self._poll())
            group.create_task(self._renewing())

    async def close(self) -> None:
        """Report what was spent and return what is held, if the database answers within 2 s."""
        accounts = [account for account in self._listed | self._urgent if account.answers or not account.quiet]
        for account in accounts:
            account.recalled, account.rate = True, 0.0
            account.ceiling = min(account.ceiling, account.spent + account.reserved)
        try:
            async with asyncio.timeout(2.0):
                await self._renew(accounts)
        except (TimeoutError, Unavailable):
            _log.warning("leases on limits were not returned: they expire by themselves")

    async def _heard(self, payload: str) -> None:
        if not payload:
            await self.load()
            return
        pool = self._pools.get(int(payload))
        if pool is not None and pool.account.answers and not pool.account.demand:
            pool.account.recalled = True
            self._urge(pool.account)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL)
            try:
                await self.load()
            except Unavailable:
                continue

    async def _renewing(self) -> None:
        ticked = self._clock()
        while True:
            try:
                async with asyncio.timeout(max(ticked + _TICK - self._clock(), 0.0)):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            due = self._urgent
            self._urgent = set()
            if self._clock() >= ticked + _TICK:
                ticked = self._clock()
                due |= self._due(ticked)
            if due:
                try:
                    await self._renew(list(due))
                except Unavailable as error:
                    self._fail(error, due)
                    await asyncio.sleep(_RETRY)
                    continue
            await asyncio.sleep(_PAUSE)

    def _due(self, now: float) -> set[Account]:
        """What has something to report, or is in use and should not expire."""
        due: set[Account] = set()
        for account in list(self._listed):
            if account.quiet:
                account.listed = False
                self._listed.discard(account)
            elif account.spent != account.reported or account.expires - now < self._settings.lease * 2 / 3:
                due.add(account)
        while self._open:
            oldest = next(iter(self._open))
            if self._open[oldest].at > now - _LONGEST:
                break
            for account, amount in self._open.pop(oldest).held:
                account.settle(amount, 0 if account.unit == CONCURRENT else amount)
        return due

    async def _renew(self, accounts: Sequence[Account]) -> None:
        if not accounts:
            return
        accounts = sorted(accounts, key=lambda account: (account.limit.id, account.starts))
        sent_at = self._clock()
        asks = [account.ask(sent_at) for account in accounts]
        numbers = [account.asks for account in accounts]
        self._sent_at = sent_at
        try:
            rows = await self._ask(accounts, asks)
        finally:
            self._sent_at = NEVER
        self.rounds += 1
        if self._down:
            _log.warning("limits are checked with the database again")
            self._down = False
        answered = {row["line"] - 1: row for row in rows}
        for line, account in enumerate(accounts):
            row = answered.get(line)
            if row is None:
                self._lift(account, asks[line], numbers[line])
                continue
            grant = Grant(**{name: row[name] for name in Grant.__slots__})
            account.take(asks[line], numbers[line], grant, sent_at + self._settings.lease * _MARGIN)
            self._warn(account)
        self._tell()

    async def _ask(self, accounts: Sequence[Account], asks: Sequence[Ask]) -> list[dict[str, Any]]:
        return await self._db.rows(
            _RENEW,
            (
                self._holder,
                self._settings.lease,
                [account.limit.id for account in accounts],
                [account.starts for account in accounts],
                *(list(column) for column in zip(*asks, strict=True)),
            ),
        )

    def _lift(self, account: Account, ask: Ask, number: int) -> None:
        """The limit is gone: what is in flight runs out without it."""
        most = 2**62
        grant = Grant(ceiling=most, amount=most, used=0, free=most, idle=0)
        account.take(ask, number, grant, self._clock() + self._settings.lease)
        account.low = 0

    def _warn(self, account: Account) -> None:
        pool, at = self._pools.get(account.limit.id), account.limit.alert_at
        if pool is not None and pool.account is account and account.unit == MONEY:
            at = pool.limit.alert_at
            pool.warning = at is not None and account.used * 100 >= at * account.amount

    def _fail(self, error: Unavailable, due: set[Account]) -> None:
        if not self._down:
            _log.warning("limits go on without the database: %s", error)
        self._down = True
        self._urgent |= due
        for account in due:
            if account.expires and self._settings.on_outage == "admit":
                account.cope(self._settings.outage_grace)
        self._tell()

    def _tell(self) -> None:
        self._round.set()
        self._round = asyncio.Event()


_Name = TypeVar("_Name")


def _grouped(pools: list[Pool], name: Callable[[Limit], _Name | None]) -> dict[_Name, tuple[Pool, ...]]:
    found: dict[_Name, tuple[Pool, ...]] = {}
    for pool in pools:
        key = name(pool.limit)
        if key is not None:
            found[key] = (*found.get(key, ()), pool)
    return found
