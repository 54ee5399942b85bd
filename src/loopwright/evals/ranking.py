"""Evaluators for choosing among answers while a call is being made: what best-of-n asks. No example, no reference."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from loopwright.core.chat import Chat, Delta, Embedder, Request
from loopwright.core.errors import BadRequest, LoopwrightError, UnknownModel
from loopwright.core.privacy import Privacy
from loopwright.core.score import Score
from loopwright.core.who import HOUSE
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Output, Tools
from loopwright.evals.evaluators import make
from loopwright.kit.nearest import hint
from loopwright.kit.wire_read import choice_of, dicts, text

_log = logging.getLogger(__name__)


Embedding = Callable[[Chat, str], Embedder]
"""Makes an embedder over a road, of a model by its name."""


class _Private:
    """An embedder under the policy of the call that it works for."""

    __slots__ = ("_inner", "_privacy", "dimensions", "name")

    def __init__(self, inner: Embedder, privacy: Privacy | None) -> None:
        self._inner, self._privacy = inner, privacy
        self.name, self.dimensions = inner.name, inner.dimensions

    async def __call__(self, texts: list[str], /, *, privacy: Privacy | None = None) -> list[list[float]]:
        return await self._inner(texts, privacy=privacy or self._privacy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Scores answers, the higher the better."""

    embedding: Embedding | None = None
    embeds: Sequence[str] = ()
    """Models that do; the first is the house's own."""

    async def __call__(
        self,
        evaluator: str | Mapping[str, Any],
        *,
        chat: Chat,
        request: Request,
        inputs: Mapping[str, Any],
        answer: Mapping[str, Any],
        as_json: bool,
    ) -> Score:
        """The score of an answer; one that cannot be had is missing, and says why.

        Raises:
            BadRequest: there is no such evaluator.
        """
        made = make(evaluator, self._tools(chat, request))
        try:
            score = await made(Example(id=request.id, inputs=inputs), _output(answer, request, as_json=as_json))
        except LoopwrightError as error:
            return Score(name=made.name, value=None, missing=error.message)
        except Exception as error:  # noqa: BLE001 - an evaluator may be a plug-in: the others' scores decide then
            quiet = request.privacy is not None and not request.privacy.store
            _log.error("evaluator %s failed (%s)", made.name, type(error).__name__, exc_info=not quiet)
            return Score(name=made.name, value=None, missing=f"{type(error).__name__}: see the log")
        if score.value is None:
            return score
        return replace(score, value=float(score.value if made.higher_is_better else -score.value))

    def check(self, evaluator: str | Mapping[str, Any]) -> str | None:
        """Why an evaluator cannot be made; None when it can."""
        try:
            make(evaluator, self._tools(_nobody))
        except BadRequest as error:
            return error.message
        return None

    def _tools(self, chat: Chat, request: Request | None = None) -> Tools:
        embedding = self.embedding
        if embedding is None:
            return Tools(chat=chat, who=HOUSE if request is None else request.who)

        def embedder(model: str | None) -> Embedder:
            name = model or next(iter(self.embeds), "")
            if name not in self.embeds:
                said = (
                    f"no model {name[:80]!r} embeds texts here{hint(name, self.embeds)}"
                    if name
                    else "no model here embeds texts"
                )
                raise BadRequest(said, param="args.model")
            return _Private(embedding(chat, name), None if request is None else request.privacy)

        return Tools(chat=chat, who=HOUSE if request is None else request.who, embedder=embedder)


def _nobody(request: Request) -> AsyncGenerator[Delta, None]:
    raise UnknownModel(f"nothing is asked now, and {request.model!r} was")


def _output(answer: Mapping[str, Any], request: Request, *, as_json: bool) -> Output:
    choice = choice_of(answer) or {}
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    said = text(message.get("content"))
    value = None
    if as_json:
        try:
            value = msgspec.json.decode(said)
        except (msgspec.MsgspecError, RecursionError):
            value = None
    finish = choice.get("finish_reason")
    return Output(
        text=said,
        value=value,
        tool_calls=dicts(message.get("tool_calls")),
        finish=finish if isinstance(finish, str) else None,
        call_id=request.id,
        model=str(answer.get("model") or ""),
    )
