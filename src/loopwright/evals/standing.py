"""Where a judge stands now: what its cards are worth, and which of them speaks for it with each model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loopwright.core.errors import BadRequest
from loopwright.evals.cards import Kept, Named
from loopwright.evals.judge_card import KAPPA, trust
from loopwright.evals.judge_definition import Definition

LeadsTo = Callable[[str], str | None]
"""What the name of a model stands for now; None is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A card, and what it is worth now."""

    kept: Kept
    stale: str | None
    """Why it says nothing of the judge any more."""
    trusted: bool
    """Whether the judge may gate."""
    reasons: tuple[str, ...]
    """Why not."""
    bar: float

    def brief(self) -> dict[str, Any]:
        """As JSON, with kappa alone."""
        kept, kappa = self.kept, self.kept.card.figures.get("kappa")
        return {
            "id": kept.id,
            "model": kept.card.model,
            "sha": kept.sha,
            "created_at": kept.created_at.isoformat(),
            "author": kept.author,
            "stale": self.stale,
            "trusted": self.trusted,
            "reasons": list(self.reasons),
            "bar": self.bar,
            "labelled": kept.card.labelled,
            "kappa": None if kappa is None else kappa.shown,
        }

    def whole(self) -> dict[str, Any]:
        """As JSON, with the whole card."""
        return {**self.brief(), "card": self.kept.card.as_json()}


def standing(judge: Named, kept: Kept, *, leads_to: LeadsTo, bar: float = KAPPA) -> Standing:
    """What a card of this judge is worth now, at a bar of kappa."""
    stale = kept.stale(_definition(judge, kept.card.model), leads_to(kept.card.model))
    found = trust(kept.card, bar)
    return Standing(
        kept=kept,
        stale=stale,
        trusted=found.trusted and stale is None,
        reasons=(*((f"the card is stale: {stale}",) if stale else ()), *found.reasons),
        bar=bar,
    )


def newest(
    judges: Iterable[Named], cards: Sequence[Kept], *, leads_to: LeadsTo, bar: float = KAPPA
) -> Mapping[str, tuple[Standing, ...]]:
    """By judge the card that speaks for it with each model: the newest that is not stale, else the newest.

    Args:
        judges: as they are now.
        cards: newest first, at least the newest of each version.
        leads_to: says what the name of a model stands for.
        bar: of kappa.
    """
    found: dict[str, tuple[Standing, ...]] = {}
    for judge in judges:
        by_model: dict[str, Standing] = {}
        for kept in cards:
            if kept.judge == judge.name:
                each = standing(judge, kept, leads_to=leads_to, bar=bar)
                before = by_model.setdefault(kept.card.model, each)
                if before.stale is not None and each.stale is None:
                    by_model[kept.card.model] = each
        found[judge.name] = tuple(by_model.values())
    return found


def _definition(judge: Named, model: str) -> Definition | None:
    try:
        return judge.definition(model)
    except BadRequest:
        return None
