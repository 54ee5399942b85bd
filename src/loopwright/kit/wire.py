"""OpenAI's wire form, in: bodies checked once at the edge. What is not ours to know passes through untouched."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from loopwright.core.chat import Operation, Request, Trace
from loopwright.core.errors import BadRequest
from loopwright.core.who import Principal

_T = TypeVar("_T")
_ROLES = Literal["system", "developer", "user", "assistant", "tool", "function"]
_Count = Annotated[int, msgspec.Meta(ge=1)]
_Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Label = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
_Tags = dict[Annotated[str, msgspec.Meta(min_length=1, max_length=64)], Annotated[str, msgspec.Meta(max_length=512)]]


class _Part(msgspec.Struct):
    type: str
    text: str | msgspec.UnsetType = msgspec.UNSET


class _Message(msgspec.Struct):
    role: _ROLES
    tool_calls: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    content: str | list[_Part] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class House(msgspec.Struct):
    """Our own member of a request, sent through the SDKs' `extra_body`."""

    variables: dict[str, Any] = {}
    session: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    tags: Annotated[_Tags, msgspec.Meta(max_length=32)] = {}
    labels: Annotated[list[_Label], msgspec.Meta(max_length=64)] | None = None
    passages: bool = False

    @property
    def narrowed(self) -> frozenset[str] | None:
        """Labels of documents that may be looked up."""
        return None if self.labels is None else frozenset(self.labels)


class _Shared(msgspec.Struct, kw_only=True):
    model: _Name
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    logit_bias: dict[str, float] | None = None
    user: str | None = None
    loopwright: House | None = None


class _Tool(msgspec.Struct):
    type: str


class _Chat(_Shared, kw_only=True):
    messages: list[_Message]
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Tool | None = None


_Texts = str | Annotated[list[str | int | list[int]], msgspec.Meta(min_length=1)]


class _Completion(_Shared, kw_only=True):
    prompt: _Texts = "<|endoftext|>"
    max_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None


class _Embeddings(msgspec.Struct):
    model: _Name
    input: _Texts
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: _Count | None = None
    user: str | None = None
    loopwright: House | None = None


_DECODERS: Final[Mapping[Operation, msgspec.json.Decoder[Any]]] = {
    "chat": msgspec.json.Decoder(_Chat, strict=True),
    "completion": msgspec.json.Decoder(_Completion, strict=True),
    "embeddings": msgspec.json.Decoder(_Embeddings, strict=True),
}
_QUESTIONS: Final = defaultdict(lambda: b'"input"', chat=b'"messages"', completion=b'"prompt"')
"""The member that the question of an operation is in."""
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TRACEPARENT: Final = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?$")
_WHERE: Final = re.compile(r"^(?P<what>.*) - at `(?P<path>[^`]*)`$", re.DOTALL)
_LONG: Final = 2_000
"""Bytes."""
_MISSING: Final = re.compile(r"missing required field `(?P<field>[^`]+)`")


def body_of(operation: Operation) -> type:
    """What the body of an operation is read as."""
    found: type = _DECODERS[operation].type
    return found


class Body(Mapping[str, Any]):
    """A JSON object that is decoded only when somebody looks into it: most requests are forwarded unread."""

    __slots__ = ("_fields", "_raw")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._fields: dict[str, Any] | None = None

    def _read(self) -> dict[str, Any]:
        if self._fields is None:
            try:
                self._fields = msgspec.json.decode(self._raw, type=dict[str, Any])
            except (msgspec.MsgspecError, RecursionError) as error:  # in a member that the edge does not know
                raise BadRequest(f"the request body cannot be read: {error}") from None
        return self._fields

    def __getitem__(self, key: str) -> Any:
        return self._read()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())


def parse(
    raw: bytes,
    operation: Operation,
    *,
    call_id: str,
    who: Principal,
    started_ns: int,
    traceparent: str | None = None,
    client: str = "",
) -> Request:
    """A checked Request from the body of an OpenAI-dialect call.

    Raises:
        BadRequest: not JSON, or a field is wrong; `param` names it.
    """
    body = decoded(_DECODERS[operation], raw)
    _check_prompt(body)
    house = body.loopwright
    if house is not None:
        raw = without(raw, "loopwright")
    elif len(raw) > _LONG or raw.count(b'"model"') != 1 or raw.count(_QUESTIONS[operation]) > 1 or escapes_ascii(raw):
        # A second `model` or question, spelt plainly or in escapes, could be the one that an upstream takes: only one
        # may leave. In a long body, to write the members anew takes a third of the time that to look for one does.
        raw = with_fields(raw)
    stream = bool(getattr(body, "stream", False))
    options = getattr(body, "stream_options", None)
    return Request(
        id=call_id,
        operation=operation,
        model=body.model,
        body=Body(raw),
        raw=raw,
        stream=stream,
        who=who,
        started_ns=started_ns,
        trace=new_trace(traceparent, call_id),
        client=client,
        session=None if house is None else house.session,
        tags={} if house is None else house.tags,
        variables=None if house is None else house.variables,
        labels=None if house is None else house.narrowed,
        passages=house is not None and house.passages,
        wants_usage=bool(options and options.include_usage),
        formed=operation == "chat" and _formed(body),
    )


def decoded(decoder: msgspec.json.Decoder[_T], raw: bytes) -> _T:
    """A body by its decoder.

    Raises:
        BadRequest: not JSON, or a field is wrong; `param` names it.
    """
    if not raw:
        raise BadRequest("the request body is empty: send a JSON object")
    try:
        if not raw.isascii():
            raw.decode()  # the decoder does not look into what it skips
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise _explained(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the request body is not valid JSON: {error}") from None
    except RecursionError:
        raise BadRequest("the request body is nested too deeply") from None


def _formed(body: _Chat) -> bool:
    """Whether it has tools, their calls or results, or a response format."""
    if body.tools or body.response_format is not None:
        return True
    for message in body.messages:  # noqa: SIM110 - `any` over a generator would take twice as long
        if message.role == "tool" or message.tool_calls is not msgspec.UNSET:
            return True
    return False


def escapes_ascii(raw: bytes) -> bool:
    """Whether JSON in bytes may spell a letter of a member's name by its number."""
    return b"\\" in raw and b"\\u00" in raw  # to look for one byte first takes a tenth of the time


def without(raw: bytes, field: str) -> bytes:
    """The JSON object `raw` less one member; the other members stay as they are, byte for byte."""
    fields = _FIELDS.decode(raw)
    fields.pop(field, None)
    return msgspec.json.encode(fields)


def with_fields(raw: bytes, **changes: Any) -> bytes:
    """The JSON object `raw` with members set; the other members stay as they are, byte for byte."""
    fields = _FIELDS.decode(raw)
    for name, value in changes.items():
        fields[name] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(fields)


def new_trace(traceparent: str | None = None, call_id: str = "") -> Trace:
    """A span of its own in the caller's trace, or in a new trace when the header is absent or malformed.

    A new trace has the digits of the call's id, so that no index is needed to find the one by the other.
    """
    if traceparent is not None:
        found = _TRACEPARENT.match(traceparent)
        # The specification forbids version ff and all-zero ids: such a header is ignored.
        if found and not traceparent.startswith("ff") and found[1].strip("0") and found[2].strip("0"):
            return Trace(trace_id=found[1], span_id=_span_id(), parent_id=found[2])
    return Trace(trace_id=call_id.replace("-", "") or f"{random.getrandbits(128):032x}", span_id=_span_id())


def _span_id() -> str:
    # As OpenTelemetry's own SDKs make them: to tell spans apart, no secrets, so the system need not be asked each time.
    return f"{random.getrandbits(64):016x}"


def _check_prompt(body: Any) -> None:
    """What the type system of the decoder cannot say."""
    if type(body) is _Chat:
        if not body.messages and not body.model.startswith("task/"):  # whose inputs may be variables
            raise BadRequest("messages: must not be empty", param="messages")
        return
    for param in ("prompt", "input"):
        value = getattr(body, param, None)
        if not isinstance(value, list):
            if value == "" and param == "input":
                raise BadRequest("input: must not be empty", param=param)
            continue
        kinds = {type(item) for item in value}
        if len(kinds) > 1:
            raise BadRequest(f"{param}: an array holds only texts, only tokens or only token arrays", param=param)
        if param == "input" and any(item in ("", []) for item in value):
            raise BadRequest("input: must not hold an empty text", param=param)


def _explained(error: msgspec.ValidationError) -> BadRequest:
    text = str(error)
    found = _WHERE.match(text)
    what, path = (found["what"], found["path"]) if found else (text, "$")
    path = path.removeprefix("$").removeprefix(".")
    missing = _MISSING.search(what)
    if missing:
        param = f"{path}.{missing['field']}" if path else missing["field"]
        return BadRequest(f"{param}: is required", param=param)
    what = what[0].lower() + what[1:] if what else what
    if what.startswith("expected `array` of length >= 1"):
        what = "must not be empty"
    return BadRequest(f"{path or 'the request body'}: {what}".replace("`", ""), param=path or None)
