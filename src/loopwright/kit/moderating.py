"""Moderation in OpenAI's form: a question read and checked, judgements put into an answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.kit.wire import House, decoded

HOUSE_MODEL: Final = "loopwright-moderation"
"""The name of the guardrails that come along; asked when a question names no model, so that nothing leaves the house."""
OPENAI_NAMES: Final = (
    "omni-moderation-latest",
    "omni-moderation-2024-09-26",
    "text-moderation-latest",
    "text-moderation-stable",
)
"""What OpenAI's clients ask for; ours answers where no model is configured under these names."""
_MOST: Final = 10_000
"""Texts of one question."""
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class _Part(msgspec.Struct):
    type: str
    text: str | None = None


class Body(msgspec.Struct, kw_only=True):
    """What is looked at; other members go through."""

    input: str | Annotated[list[str | _Part], msgspec.Meta(min_length=1)]
    model: _Name | None = None
    loopwright: House | None = None


_BODY: Final = msgspec.json.Decoder(Body, strict=True)


def read(raw: bytes) -> Body:
    """The body of a question, checked.

    Raises:
        BadRequest: not JSON, or a member is wrong; `param` names it.
    """
    body = decoded(_BODY, raw)
    if isinstance(body.input, str):
        return body
    if len({type(each) for each in body.input}) > 1:
        raise BadRequest("input: an array holds only texts or only parts", param="input")
    if len(body.input) > _MOST:
        raise BadRequest(f"input: {len(body.input):,} texts were sent; at most {_MOST:,} at once", param="input")
    for at, each in enumerate(body.input):
        if isinstance(each, _Part) and each.type == "text" and each.text is None:
            raise BadRequest(f"input[{at}].text: is required", param=f"input[{at}].text")
    return body


def texts(body: Mapping[str, Any]) -> list[str]:
    """What is to be judged, one for each result: parts are one input together.

    Raises:
        BadRequest: there is a part that is no text.
    """
    given = body["input"]
    if isinstance(given, str):
        return [given]
    if isinstance(given[0], str):
        return list(given)
    for at, part in enumerate(given):
        if part["type"] != "text":
            raise BadRequest(
                f"input[{at}]: {HOUSE_MODEL!r} judges texts only; configure a provider's model with the operation "
                f"moderations to judge {part['type']}",
                param=f"input[{at}]",
            )
    return ["\n".join(part["text"] for part in given)]


def whole(call_id: str, model: str, results: Iterable[Mapping[str, Any]]) -> bytes:
    """The body of an answer."""
    return msgspec.json.encode({"id": f"modr-{call_id}", "model": model, "results": list(results)})
