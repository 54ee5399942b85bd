"""What the cache gives again of the calls on record: each answer lies there once, with its call."""

from __future__ import annotations

from dataclasses import dataclass

from loopwright.cache.entry import Entry, Erasure
from loopwright.calls.query import Calls
from loopwright.core.money import Usage


@dataclass(frozen=True, slots=True)
class Recollected:
    """Calls as the cache sees them."""

    calls: Calls

    async def find(self, key: bytes) -> Entry | None:
        """The newest answer on record to the question of `key`, if it is still good."""
        given = await self.calls.answer_of(key)
        if given is None:
            return None
        call = given.call
        return Entry(
            key=key,
            body=given.body,
            expires=given.until,
            call_id=call.id,
            project_id=call.project_id,
            key_id=call.key_id,
            session=call.session,
            tags=call.tags,
            model=call.model,
            target=call.target,
            usage=Usage(
                input=call.input_tokens,
                output=call.output_tokens,
                cached=call.cached_tokens,
                reasoning=call.reasoning_tokens,
                estimated=call.usage_estimated,
            ),
            cost_nano=call.cost_nano,
            started_ns=int(call.started_at.timestamp() * 1_000_000) * 1_000,
        )

    async def known(self, most: int) -> list[tuple[bytes, int]]:
        """(the beginning of its key, Unix time of expiry) of answers on record, those good for longest."""
        return await self.calls.answers_known(most)

    async def questions_of(self, call_id: str) -> list[bytes]:
        """The key of the question that a call answered, if its answer may be given again."""
        return await self.calls.questions_of(call_id)

    async def forget(self, erasure: Erasure) -> int:
        """Have what `erasure` names not given again; how many answers on record that were."""
        return await self.calls.silence(
            project_id=erasure.project_id,
            questions=erasure.questions,
            call_id=erasure.call_id,
            key_id=erasure.key_id,
            session=erasure.session,
            tag=erasure.tag,
        )
