"""The assistant of the console: the task `docs-assistant`, where there is one that looks things up. See docs/console.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from loopwright.app import App
from loopwright.console.marked import parts_of
from loopwright.core.errors import NotFound, UnknownModel
from loopwright.core.passage import Passage
from loopwright.core.who import Principal
from loopwright.gateway.passages import titled, url_of
from loopwright.kit.settings_tasks import RetrievalSettings
from loopwright.laboratory.searching import Looked, searched
from loopwright.retrieval.marks import window

TASK: Final = "docs-assistant"
_QUOTED: Final = 420
"""Characters of a passage."""
_SPARE: Final = 4
"""Passages that are found in the place of some that read like orders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assistant:
    """Who may be asked."""

    models: Sequence[str]
    """That write its answers."""
    retrieval: RetrievalSettings

    @property
    def writer(self) -> str:
        """The models, for people."""
        return ", ".join(self.models)


def assistant_of(app: App, who: Principal) -> Assistant | None:
    """The assistant that `who` may ask; None where there is none. Never asks the database."""
    try:
        task = app.workshop.held_tasks.find(who.project_id, TASK)
    except UnknownModel:
        return None
    ways = [each for each in task.variants.values() if each.weight and each.retrieval is not None]
    models = dict.fromkeys(model for each in ways for model in each.models)
    if not ways or ways[0].retrieval is None or not who.may_have_done(TASK, list(models)):
        return None
    return Assistant(models=[*models], retrieval=ways[0].retrieval)


async def quoted(app: App, who: Principal, assistant: Assistant, question: str) -> dict[str, Any]:
    """What the documents say to a question, in their own words: passages with addresses, and whether that is enough.

    No model writes anything. Passages that read like orders are left out as the task leaves them out.

    Raises:
        NotFound: a collection is not there; says how it is made.
        See `laboratory.searching.searched`.
    """
    told = assistant.retrieval
    names = ("mode", "candidates", "diversity", "rerank", "rewrite")
    options = {**{name: getattr(told, name) for name in names}, "filter": dict(told.filter) or None}
    try:
        looked = await searched(
            app, who, who.project_id, told.collections, text=question, k=min(told.k + _SPARE, 100), options=options
        )
    except NotFound as error:
        raise NotFound(f"{error.message}\n`loopwright collections docs` makes it", param="q") from None
    evidence = await app.calibrations(looked.query, looked.found)
    threshold = float(told.threshold) if isinstance(told.threshold, int | float) else evidence.threshold
    fit = [each for each in looked.found.passages if told.suspicious != "drop" or each.suspicion < told.suspicion]
    low = evidence.value is not None and threshold is not None and evidence.value < threshold
    return {
        "question": question,
        "weak": low or not fit,
        "refusal": told.refusal,
        "evidence": evidence.value,
        "threshold": threshold,
        "quotes": [_quote(looked, each) for each in fit[: told.k]],
        "writer": assistant.writer,
    }


def _quote(looked: Looked, passage: Passage) -> dict[str, Any]:
    """The part of a passage with most of the words that were asked for."""
    start, end = window(passage.text, looked.marks(passage), _QUOTED)
    marks = [(one - start, two - start) for one, two in looked.marks(passage) if start <= one and two <= end]
    return {
        "title": titled(passage),
        "document": passage.document,
        "heading": passage.heading,
        "page": passage.page,
        "url": url_of(passage),
        "parts": [[text, marked] for text, marked in parts_of(passage.text[start:end], marks)],
        "before": start > 0,
        "after": end < len(passage.text),
    }
