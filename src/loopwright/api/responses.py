"""OpenAI's Responses: `/v1/responses`, whose memory is the record of calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec.structs import replace

from loopwright.api.dialect import Asked
from loopwright.calls.query import Calls
from loopwright.core.call import CallDetail
from loopwright.core.chat import Operation, Request
from loopwright.core.errors import BadRequest, LoopwrightError, NotFound
from loopwright.core.money import Usage
from loopwright.core.privacy import NO_STORE
from loopwright.core.who import Principal
from loopwright.gateway.recorded import NOT_STORED
from loopwright.kit import wire_out
from loopwright.kit.dialects import responses_in
from loopwright.kit.dialects.responses_out import PREFIX, ResponseVoice

_PREVIOUS: Final = "previous_response_id"


@dataclass(frozen=True, slots=True)
class Responses:
    """`POST /v1/responses`, and what was answered there: any chat on record can be read and gone on from."""

    calls: Calls
    operation: Operation = "chat"

    async def request(self, asked: Asked) -> Request:
        """See `kit.dialects.responses_in.read`; `previous_response_id` is resolved from the record."""
        question = responses_in.read(asked.raw)
        body = question.body
        if question.previous is not None:
            before = await self._detail(question.previous, asked.who.project_id, _PREVIOUS)
            call = before.call
            if call.outcome != "ok":
                raise BadRequest(f"{_PREVIOUS}: that answer did not come to its end ({call.outcome})", param=_PREVIOUS)
            body = responses_in.continued(question, before.request or {}, before.response or {})
        if not any(message["role"] != "system" for message in body["messages"]):
            raise BadRequest("input: there is nothing to answer", param="input")
        request = asked.request(body, question.aside, question.house)
        return replace(request, privacy=NO_STORE) if question.aside.get("store") is False else request

    def voice(self, request: Request) -> ResponseVoice:
        """Says it as a response."""
        return ResponseVoice(request.id, request.body, request.aside or {}, request.started_ns / 1e9)

    def error(self, error: LoopwrightError, _call_id: str) -> bytes:
        """`{"error": {…}}`."""
        return msgspec.json.encode(wire_out.error_body(error))

    async def shown(self, who: Principal, response_id: str) -> dict[str, Any]:
        """A response as it was answered.

        Raises:
            NotFound: there is none in the asker's project, or it was asked not to be stored.
            BadRequest: its texts were not kept.
        """
        detail = await self._detail(response_id, who.project_id, "response_id")
        call, body = detail.call, dict(detail.request or {})
        voice = ResponseVoice(call.id, body, _aside(body), call.started_at.timestamp())
        usage = Usage(
            input=call.input_tokens,
            output=call.output_tokens,
            cached=call.cached_tokens,
            reasoning=call.reasoning_tokens,
            estimated=call.usage_estimated,
        )
        found = voice.response(detail.response or {}, usage)
        if call.outcome == "cancelled":
            found["status"] = "cancelled"
        elif call.outcome != "ok":
            found["status"] = "failed"
            found["error"] = {"code": "server_error", "message": call.error or f"the call was {call.outcome}"}
        return found

    async def named(self, who: Principal, response_id: str) -> str:
        """The call behind a response.

        Raises:
            NotFound: there is none in the asker's project.
        """
        call_id = _call_id(response_id, "response_id")
        await self.calls.get(call_id, project_id=who.project_id)
        return call_id

    async def _detail(self, response_id: str, project_id: int, param: str) -> CallDetail:
        call_id = _call_id(response_id, param)
        try:
            detail = await self.calls.get(call_id, project_id=project_id)
        except NotFound:
            raise _missing(response_id, param) from None
        if detail.call.operation != "chat":
            raise _missing(response_id, param)
        if _aside(detail.request or {}).get("store") is False or detail.call.tags.items() >= NOT_STORED.items():
            raise NotFound(
                f"{param}: {response_id!r} was not stored, as its client or a policy of privacy wished, so send the "
                "whole conversation",
                param=param,
            )
        if detail.sealed is not None:
            raise BadRequest(f"{param}: {response_id!r} is {detail.sealed}", param=param)
        if detail.request is None:
            raise BadRequest(
                f"{param}: the texts of {response_id!r} are not kept (calls.payloads), so send the whole conversation",
                param=param,
            )
        return detail


def _aside(body: Any) -> dict[str, Any]:
    aside = body.get("loopwright")
    return aside if isinstance(aside, dict) else {}


def _call_id(response_id: str, param: str) -> str:
    """The id of the call that a response is."""
    digits = response_id.removeprefix(PREFIX)
    try:
        if digits != response_id and len(digits) == 32:
            return str(UUID(digits))
    except ValueError:
        pass
    raise _missing(response_id, param)


def _missing(response_id: str, param: str) -> NotFound:
    why = "it was deleted, was not stored, is past its retention, or never was"
    return NotFound(f"{param}: there is no response {response_id[:80]!r}: {why}", param=param)
