"""An evaluation as people see it: what was asked, how far it is, what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from loopwright.core.money import usd
from loopwright.evals.spec import Spec, spec_of
from loopwright.kit.seal import Seal

Status = Literal["queued", "running", "cancelling", "completed", "stopped", "cancelled", "failed"]
OPEN: Final[tuple[Status, ...]] = ("queued", "running", "cancelling")
"""Of evaluations that are not yet at their end."""
STATUSES: Final[tuple[Status, ...]] = (*OPEN, "completed", "stopped", "cancelled", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What became of an evaluation so far, in numbers."""

    done: int = 0
    """Examples with all that is to be known of them."""
    answers: int = 0
    """That were asked for; those out of the cache do not count."""
    cached: int = 0
    """Answers that were paid for before."""
    unanswered: int = 0
    missing: int = 0
    """Scores without a finding, those of missing answers included."""
    raised: int = 0
    """Of those, because the evaluator raised."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0
    """Nanodollars this evaluation paid for answers."""
    judging_nano: int = 0
    """Nanodollars this evaluation paid for scores."""
    saved_nano: int = 0
    """Nanodollars that were paid before."""
    unpriced: int = 0
    """Answers and scores asked for whose price is not known."""

    def __add__(self, other: Tally) -> Tally:
        # In full, as it is done for every answer.
        return Tally(
            done=self.done + other.done,
            answers=self.answers + other.answers,
            cached=self.cached + other.cached,
            unanswered=self.unanswered + other.unanswered,
            missing=self.missing + other.missing,
            raised=self.raised + other.raised,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_nano=self.cost_nano + other.cost_nano,
            judging_nano=self.judging_nano + other.judging_nano,
            saved_nano=self.saved_nano + other.saved_nano,
            unpriced=self.unpriced + other.unpriced,
        )

    @property
    def spent_nano(self) -> int:
        """Nanodollars this evaluation paid in all."""
        return self.cost_nano + self.judging_nano


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """An evaluation of a project."""

    id: str
    project_id: int
    key_id: int
    """The key it asks with."""
    name: str
    spec: Spec
    dataset: str
    """`name@number`."""
    dataset_sha: str
    status: Status
    created_at: datetime
    problem: str | None = None
    """Why it stopped or failed."""
    total: int = 0
    """Examples."""
    tally: Tally = field(default_factory=Tally)
    findings: Mapping[str, Any] | None = None
    """See `evals.findings`; partial while it runs."""
    verdict: str | None = None
    """Of its gate: pass, fail, not enough evidence."""
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def open(self) -> bool:
        """Whether it is not yet at its end."""
        return self.status in OPEN

    @property
    def seconds(self) -> float | None:
        """That it has been working, or worked."""
        if self.started_at is None:
            return None
        return ((self.ended_at or datetime.now(UTC)) - self.started_at).total_seconds()

    @property
    def eta(self) -> float | None:
        """Seconds that it still needs, at the pace so far; None when nobody can tell."""
        seconds, done = self.seconds, self.tally.done
        if not self.open or seconds is None or not done:
            return None
        return seconds / done * (self.total - done)

    def brief(self) -> dict[str, Any]:
        """For lists, as JSON."""
        tally = self.tally
        return {
            "id": self.id,
            "project_id": self.project_id,
            "name": self.name,
            "status": self.status,
            "open": self.open,
            "problem": self.problem,
            "dataset": self.dataset,
            "dataset_sha": self.dataset_sha,
            "targets": [target.name for target in self.spec.targets],
            "evaluators": [str(each.get("name") or each.get("kind")) for each in self.spec.evaluators],
            "baseline": self.spec.baseline,
            "verdict": self.verdict,
            "total": self.total,
            **{
                name: getattr(tally, name)
                for name in (
                    "done", "answers", "cached", "unanswered", "missing", "raised", "input_tokens", "output_tokens",
                    "unpriced",
                )
            },
            "cost_usd": usd(tally.spent_nano),
            "judging_usd": usd(tally.judging_nano),
            "saved_usd": usd(tally.saved_nano),
            "seconds": self.seconds,
            "eta_s": self.eta,
            "created_at": self.created_at.isoformat(),
            "started_at": None if self.started_at is None else self.started_at.isoformat(),
            "ended_at": None if self.ended_at is None else self.ended_at.isoformat(),
        }  # fmt: skip

    def shown(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {**self.brief(), "spec": self.spec.as_json(), "findings": self.findings}


def about(evaluation_id: str) -> bytes:
    """What the spec of an evaluation is sealed for."""
    return f"evaluations {evaluation_id}".encode()


def evaluation_of(row: Mapping[str, Any], seal: Seal) -> Evaluation:
    """An Evaluation from its row.

    Raises:
        Sealed: its key is not here.
    """
    counted = {each.name: row[each.name] for each in fields(Tally)}
    apart = {"tally", "spec"}
    plain = {each.name: row[each.name] for each in fields(Evaluation) if each.name not in apart}
    return Evaluation(
        **plain,
        spec=spec_of(msgspec.json.decode(seal.open(bytes(row["spec"]), about(row["id"])))),
        tally=Tally(**counted),
    )
