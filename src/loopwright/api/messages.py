"""Anthropic's dialect: `/v1/messages`, and how many tokens a conversation would be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec

from loopwright.api.dialect import Asked
from loopwright.api.exchange import Exchange
from loopwright.api.hot import refuse
from loopwright.core.chat import Operation, Request
from loopwright.core.errors import LoopwrightError, Refused, UnknownModel
from loopwright.core.who import Principal
from loopwright.gateway.prompted import Prompted
from loopwright.kit.dialects import estimate, messages_in
from loopwright.kit.dialects.messages_out import MessageVoice, error_body
from loopwright.kit.ids import Ids
from loopwright.kit.nearest import hint
from loopwright.kit.wire import House
from loopwright.kit.wire_read import text
from loopwright.tasks.task import PREFIX

_JSON: Final = b"content-type: application/json\r\n"


@dataclass(frozen=True, slots=True)
class Messages:
    """`POST /v1/messages`."""

    operation: Operation = "chat"

    async def request(self, asked: Asked) -> Request:
        """See `kit.dialects.messages_in.read`."""
        question = messages_in.read(asked.raw)
        return asked.request(question.body, {"dialect": "messages"}, question.house)

    def voice(self, request: Request) -> MessageVoice:
        """Says it as a message."""
        return MessageVoice(request.id, request.body, len(request.raw or b""))

    def error(self, error: LoopwrightError, call_id: str) -> bytes:
        """`{"type": "error", …}`."""
        return msgspec.json.encode(error_body(error, call_id))


class TokenCounter(Protocol):
    """Counts exactly, without generating."""

    async def count(self, body: Mapping[str, Any]) -> int:
        """Tokens of the prompt that a canonical body becomes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """`POST /v1/messages/count_tokens`: answered at the door, for nothing is generated and nothing is on record."""

    who: Callable[[Exchange], Principal]
    """Who asks; raises Unauthenticated."""
    models: Collection[str]
    """Every name that can be called."""
    counters: Mapping[str, TokenCounter]
    """By name; the tokens of other models are estimated."""
    tasks: Prompted | None = None
    """Words calls of tasks; None: there are none."""
    ids: Ids = field(default_factory=Ids)

    async def answer(self, exchange: Exchange) -> None:
        """Take an exchange to its end."""
        asked = self.ids.new()
        try:
            who = self.who(exchange)
            question = messages_in.read_count(await exchange.body())
            counted = await self._count(who, await self._asked(who, question))
        except LoopwrightError as error:
            await refuse(exchange, error, b"", msgspec.json.encode(error_body(error, asked)))
            return
        await exchange.respond(200, _JSON, msgspec.json.encode({"input_tokens": counted}))

    async def _asked(self, who: Principal, question: messages_in.Question) -> Mapping[str, Any]:
        """What a model is asked: of a task its first request, worded with the inputs."""
        body = question.body
        if self.tasks is None or not body["model"].startswith(PREFIX):
            if not who.may_call(body["model"]):
                raise Refused(f"key {who.key_name!r} may not call {body['model']!r}", param="model")
            return body
        users = [text(each.get("content")) for each in body["messages"] if each.get("role") == "user"]
        house = question.house or House()
        first = await self.tasks.first(
            who, body["model"], house.variables, text=users[-1] if users else None, session=house.session
        )
        return {**first.body, "model": first.model}

    async def _count(self, who: Principal, body: Mapping[str, Any]) -> int:
        model = body["model"]
        if model not in self.models:
            known = [name for name in self.models if who.may_call(name)]
            raise UnknownModel(f"there is no model {model!r}{hint(model, known)}", param="model")
        counter = self.counters.get(model)
        return estimate.tokens(body) if counter is None else await counter.count(body)
