"""Hits of the cache as calls on record: what was asked, what it matched, and reports that it should not have."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from loopwright.cache.cache import Cache
from loopwright.cache.tally import Wrong
from loopwright.calls.query import CallFilter, Calls
from loopwright.core.call import CallDetail
from loopwright.core.errors import NotFound
from loopwright.gateway.cached import PROVIDER, Policy

_OF: Final = "loopwright.cache_of"
_SIMILARITY: Final = "loopwright.cache_similarity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One hit."""

    detail: CallDetail
    matched: CallDetail | None
    """The call whose answer was given again; None when it was deleted."""

    @property
    def kind(self) -> str:
        """`hit` or `semantic-hit`."""
        return self.detail.call.tags.get("loopwright.cache", "hit")

    @property
    def matched_id(self) -> str:
        """The id of the call that was answered so, whether it is still there or not."""
        return self.detail.call.tags[_OF]

    @property
    def similarity(self) -> float | None:
        """Cosine of the two questions; None for an exact hit."""
        said = self.detail.call.tags.get(_SIMILARITY)
        return None if said is None else float(said)

    @property
    def saved_usd(self) -> str | None:
        """What the matched call cost; None when it was unpriced."""
        return self.detail.call.tags.get("loopwright.saved_usd")


async def hit(calls: Calls, call_id: str, *, project_id: int | None) -> Hit:
    """One hit with both questions.

    Raises:
        NotFound: no such call in that project, or it is no hit.
    """
    detail = await calls.get(call_id, project_id=project_id)
    if not _is_hit(detail):
        raise NotFound(f"call {call_id} was not answered from the cache", param="call_id")
    return await _with_matched(calls, detail)


async def latest(
    calls: Calls, *, project_id: int | None, since: datetime, model: str | None = None, limit: int = 10
) -> list[Hit]:
    """The latest hits by likeness, newest first."""
    asked = CallFilter(project_id=project_id, since=since, model=model, tags=(("loopwright.cache", "semantic-hit"),))
    page = await calls.page(asked, limit=4 * limit)
    ids = [call.id for call in page.calls if call.provider == PROVIDER and _OF in call.tags][:limit]
    found = await asyncio.gather(*(_or_none(calls, call_id, None) for call_id in ids))
    return list(await asyncio.gather(*(_with_matched(calls, detail) for detail in found if detail is not None)))


async def report_wrong(found: Hit, cache: Cache, policy: Policy | None, *, by_key: int) -> tuple[bool, float | None]:
    """Report that a hit was wrong: whether that is new, and how alike questions must be from now on (None: exact)."""
    call = found.detail.call
    semantic = None if policy is None else policy.settings.semantic
    wrong = Wrong(
        call_id=call.id,
        of_call_id=found.matched_id,
        project_id=call.project_id,
        key_id=by_key,
        model=call.model if policy is None else policy.model,
        kind=found.kind,
        similarity=found.similarity,
        threshold=0.0 if semantic is None else semantic.threshold,
    )
    fresh = await cache.report_wrong(wrong)
    held = cache.threshold(call.project_id, wrong.model, wrong.threshold)
    return fresh, None if found.similarity is None else held


def _is_hit(detail: CallDetail) -> bool:
    # Tags are also a client's to set, the provider is not.
    return detail.call.provider == PROVIDER and _OF in detail.call.tags


async def _with_matched(calls: Calls, detail: CallDetail) -> Hit:
    matched = await _or_none(calls, detail.call.tags[_OF], detail.call.project_id)
    return Hit(detail=detail, matched=matched)


async def _or_none(calls: Calls, call_id: str, project_id: int | None) -> CallDetail | None:
    try:
        return await calls.get(call_id, project_id=project_id, wait=0)
    except NotFound:
        return None
