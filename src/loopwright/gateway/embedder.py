"""An Embedder over a model of ours that is called as any client would call it, beside the road: not on record."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from loopwright.core.chat import Chat, Embedder, Request, answering
from loopwright.core.errors import UpstreamBroke
from loopwright.core.privacy import Privacy
from loopwright.core.who import HOUSE
from loopwright.kit import wire
from loopwright.kit.ids import Ids


class _Vector(msgspec.Struct):
    index: int
    embedding: list[float]


class _Vectors(msgspec.Struct):
    data: list[_Vector]


_vectors: Final = msgspec.json.Decoder(_Vectors)


@dataclass(slots=True)
class CalledEmbedder:
    """Asks `chat` for embeddings."""

    chat: Chat
    name: str
    """The model."""
    ids: Ids
    dimensions: int = 0
    """0: known only from what comes."""

    async def __call__(self, texts: list[str], /, *, privacy: Privacy | None = None) -> list[list[float]]:
        """One unit-length vector for each text, in order.

        Raises:
            Refused: the policy does not let the texts reach the model.
            UpstreamBroke: what came is not as many vectors.
            LoopwrightError: as the model.
        """
        body = {"model": self.name, "input": texts, "encoding_format": "float"}
        now = time.time_ns()
        request = Request(
            id=self.ids.new(now),
            operation="embeddings",
            model=self.name,
            body=body,
            raw=msgspec.json.encode(body),
            stream=False,
            who=HOUSE,
            started_ns=now,
            trace=wire.new_trace(),
            client="loopwright",
            privacy=privacy,
        )
        raw = b""
        async with answering(self.chat, request) as answer:
            async for delta in answer:
                raw += delta.raw
        try:
            found = sorted(_vectors.decode(raw).data, key=lambda vector: vector.index)
        except msgspec.MsgspecError:
            raise UpstreamBroke(f"model {self.name!r} did not answer with vectors") from None
        if len(found) != len(texts):
            raise UpstreamBroke(f"model {self.name!r} answered {len(texts)} texts with {len(found)} vectors")
        return [_unit(vector.embedding) for vector in found]


class Reached(Protocol):
    """What a name leads to."""

    @property
    def chat(self) -> Chat:
        """Answers."""
        ...


class Embedders:
    """Every model that can be called, as an Embedder."""

    def __init__(self, targets: Mapping[str, Reached]) -> None:
        self._targets = targets
        self._ids = Ids()

    def __call__(self, name: str) -> Embedder | None:
        """One by its name; None when there is none."""
        target = self._targets.get(name)
        return None if target is None else CalledEmbedder(target.chat, name, self._ids)


def _unit(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else vector
