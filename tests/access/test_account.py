"""The arithmetic of leases against the real function in the database, by chance and with kills."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg.rows import dict_row

from loopwright.access.account import Account, Ask, Grant
from loopwright.access.limits import Limit
from loopwright.kit.migrations import migrations_of

DAY = 86_400
LEASE = 3600.0
AMOUNT = 1_000
workers = st.integers(0, 3)


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connected:
        for migration in migrations_of("access"):
            connected.execute(migration.sql)
        yield connected


@dataclass
class Worker:
    """A process: what it holds, what is in flight in it, what it spooled and nobody drained."""

    account: Account
    holder: uuid.UUID = field(default_factory=uuid.uuid4)
    flying: list[tuple[int, int]] = field(default_factory=list)
    """(estimate, what it will really cost)"""
    answer: tuple[Ask, int, Grant] | None = None
    """Of the database, on its way."""
    spooled: int = 0
    truth: int = 0


class Leases(RuleBasedStateMachine):
    """Four workers spend one budget. The clock of accounts is counted by hand."""

    connection: psycopg.Connection[dict[str, Any]]

    @initialize(amount=st.sampled_from([1, 50, 300, AMOUNT]), honest=st.booleans())
    def begin(self, amount: int, *, honest: bool) -> None:
        """Where estimates are `honest`, none is too low and the limit holds to the last unit."""
        self.honest = honest
        self.connection.execute("truncate leases, spend")
        self.connection.execute("delete from limits")
        row = self.connection.execute(
            "insert into limits (project_id, kind, amount) values (1, 'usd_per_day', %s) returning *", (amount,)
        ).fetchone()
        assert row is not None
        self.limit = Limit(
            id=row["id"], project_id=1, project="default", key_id=None, key=None, tag=None, kind="usd_per_day",
            amount=amount, alert_at=None, created_at=row["created_at"],
        )  # fmt: skip
        self.amount = amount
        self.clock = 0.0
        self.excess = 0
        self.most = 0
        self.dead: list[Worker] = []
        self.workers = [Worker(self.fresh()) for _ in range(4)]

    def fresh(self) -> Account:
        return Account(self.limit, 0, DAY, now=self.clock)

    @rule(which=workers, estimate=st.integers(1, 200), real=st.integers(0, 300))
    def ask(self, which: int, estimate: int, real: int) -> None:
        worker = self.workers[which]
        real = min(real, estimate) if self.honest else real
        if worker.account.fits(estimate, self.clock):
            worker.account.reserved += estimate
            worker.flying.append((estimate, real))
            self.excess += max(real - estimate, 0)

    @rule(which=workers, data=st.data())
    def end(self, which: int, data: st.DataObject) -> None:
        worker = self.workers[which]
        if worker.flying:
            estimate, real = worker.flying.pop(data.draw(st.integers(0, len(worker.flying) - 1)))
            worker.account.settle(estimate, real)
            worker.truth += real
            worker.spooled += real

    @rule(which=workers)
    def hear(self, which: int) -> None:
        """The answer arrives; what was let in meanwhile went by the promise made when asking."""
        worker = self.workers[which]
        if worker.answer is not None:
            worker.account.take(*worker.answer, self.clock + LEASE)
            worker.answer = None

    @rule(which=workers, demand=st.integers(0, 300), recalled=st.booleans(), passes=st.floats(0, 3))
    def renew(self, which: int, demand: int, *, recalled: bool, passes: float) -> None:
        self.clock += passes
        self.hear(which)
        worker = self.workers[which]
        worker.account.demand, worker.account.recalled = demand, recalled
        said = worker.account.ask(self.clock)
        row = self.connection.execute(
            "select * from renew_leases(%s, %s, %s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])",
            (worker.holder, LEASE, [self.limit.id], [0], *([value] for value in said)),
        ).fetchone()
        assert row is not None
        grant = Grant(**{name: row[name] for name in Grant.__slots__})
        assert grant.ceiling >= said.spent + said.reserved
        assert min(grant.free, grant.idle, grant.used) >= 0
        worker.answer = (said, worker.account.asks, grant)
        worker.account.demand = 0

    @rule(which=workers)
    def drain(self, which: int) -> None:
        self.drained(self.workers[which])

    @rule(which=workers)
    def kill(self, which: int) -> None:
        """-9: what is in flight never ends, what it had not reported is in its spool only."""
        self.dead.append(self.workers[which])
        self.workers[which] = Worker(self.fresh())

    @precondition(lambda self: self.dead)
    @rule()
    def expire(self) -> None:
        """The leases of the dead run out; their spools were drained long before."""
        for worker in self.dead:
            self.drained(worker)
            self.connection.execute("update leases set expires_at = now() where holder = %s", (worker.holder,))

    def drained(self, worker: Worker) -> None:
        if worker.spooled:
            self.connection.execute(
                "insert into spend as s values ('project', 1, 'day', 0, %s, %s)"
                " on conflict (scope, scope_id, period, starts, holder) do update set nano = s.nano + excluded.nano",
                (worker.holder, worker.spooled),
            )
            worker.spooled = 0

    @property
    def spent(self) -> int:
        return sum(worker.truth for worker in (*self.workers, *self.dead))

    @invariant()
    def nothing_is_negative_and_the_limit_holds_but_for_wrong_estimates(self) -> None:
        if not hasattr(self, "workers"):
            return
        for worker in self.workers:
            assert worker.account.reserved >= 0
            assert worker.account.spent >= 0
            assert worker.account.reserved == sum(estimate for estimate, _ in worker.flying)
        promised = self.spent + sum(worker.account.reserved for worker in self.workers)
        assert promised <= self.amount + self.excess

    def teardown(self) -> None:
        """Exact after settling: everything ends, is drained, and is what the database says."""
        if not hasattr(self, "workers"):
            return
        for worker in self.workers:
            while worker.flying:
                estimate, real = worker.flying.pop()
                worker.account.settle(estimate, real)
                worker.truth += real
                worker.spooled += real
        for worker in (*self.workers, *self.dead):
            self.drained(worker)
        row = self.connection.execute(
            "select coalesce(sum(h.used), 0)::bigint as used from limits l cross join lateral limit_holders(l, 0) h"
        ).fetchone()
        assert row is not None
        assert row["used"] == self.spent


def test_leases_hold_whatever_happens(connection: psycopg.Connection[dict[str, Any]]) -> None:
    machine = type("OnThisDatabase", (Leases,), {"connection": connection})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_what_is_given_back_is_not_spent_while_the_answer_is_on_its_way() -> None:
    limit = Limit(
        id=1, project_id=1, project="p", key_id=None, key=None, tag=None, kind="usd_per_day", amount=100, alert_at=None,
        created_at=datetime.now(UTC),
    )  # fmt: skip
    account = Account(limit, 0, DAY, now=0.0)
    account.take(Ask(0, 0, 0, 0), 0, Grant(ceiling=100, amount=100, used=0, free=0, idle=0), LEASE)
    assert account.fits(100, 1.0)
    account.recalled = True
    said = account.ask(1.0)
    assert said.wanted <= 50
    assert account.room == said.wanted
    assert not account.fits(said.wanted + 1, 1.0)
