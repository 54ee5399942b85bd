"""An OpenAI stream as it passes: every event is checked to be JSON (0.4 µs), only few are read."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from loopwright.core.chat import Delta
from loopwright.core.errors import LoopwrightError, UpstreamBroke, UpstreamError
from loopwright.core.money import Usage
from loopwright.kit.sse import data_of, events, is_comment, name_of
from loopwright.providers.openai_errors import complaint_in, scrubbed

_NULL: Final = b"null"
_DONE: Final = b"[DONE]"
_DONE_EVENT: Final = b"data: [DONE]\n\n"
_SILENT: Final = frozenset({b"null", b'""', b"[]", b"{}"})
_KEEP_ALIVE: Final = b":\n\n"


class _Event(msgspec.Struct, gc=False):
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Choice(msgspec.Struct):
    delta: dict[str, msgspec.Raw] | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Choices(msgspec.Struct):
    choices: list[_Choice] | None = None


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek's name for cached tokens


_EVENT: Final = msgspec.json.Decoder(_Event)
_CHOICES: Final = msgspec.json.Decoder(_Choices)
_USAGE: Final = msgspec.json.Decoder(_Usage)


def usage_in(raw: msgspec.Raw | msgspec.UnsetType) -> Usage | None:
    """Usage from a `usage` member; None when it is absent, null or not in OpenAI's form, for then it must be counted."""
    if isinstance(raw, msgspec.UnsetType) or raw == _NULL:
        return None
    try:
        wire = _USAGE.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if wire.prompt_tokens is None and wire.completion_tokens is None:
        return None
    cached = wire.prompt_tokens_details.cached_tokens if wire.prompt_tokens_details else None
    if cached is None:
        cached = wire.prompt_cache_hit_tokens
    reasoning = wire.completion_tokens_details.reasoning_tokens if wire.completion_tokens_details else None
    return Usage(
        input=max(wire.prompt_tokens or 0, 0),
        output=max(wire.completion_tokens or 0, 0),
        cached=max(cached or 0, 0),
        reasoning=max(reasoning or 0, 0),
    )


class Stream:
    """What is known of one stream. `take` whole events; then look at `done` and `problem`."""

    __slots__ = (
        "_done_optional",
        "_finished",
        "_first",
        "_held",
        "_keeps_usage",
        "_model",
        "_provider",
        "_secrets",
        "_spoken",
        "_usage",
        "done",
        "problem",
    )

    def __init__(
        self, *, provider: str, model: str, keeps_usage: bool, done_optional: bool, secrets: tuple[str, ...]
    ) -> None:
        self._provider = provider
        self._model = model
        self._keeps_usage = keeps_usage
        self._done_optional = done_optional
        self._secrets = secrets
        self._usage: Usage | None = None
        self._held = b""  # the event that carries only usage goes out with the end
        self._first = True
        self._spoken = False
        self._finished = False
        self.done = False
        self.problem: LoopwrightError | None = None
        """Why the stream cannot go on: to be raised once what came before it is handed on."""

    def take(self, whole: bytes) -> Delta | None:
        """The Delta that hands `whole` on, or None when nothing of it is for the client (yet)."""
        if not whole.isascii() and not _is_text(whole):
            self.problem = self._malformed()
            return None
        # The common case: one event of one line that starts and ends like an object, and holds neither usage nor error.
        if (
            self._spoken
            and whole.startswith(b"data: {")
            and whole.endswith(b"}\n\n")
            and whole.find(b"\n") == len(whole) - 2
            and not self._done_optional
        ):
            try:
                event = _EVENT.decode(whole[6:-2])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self.problem = self._malformed()
                return None
            if event.usage is msgspec.UNSET and event.error is msgspec.UNSET:
                return Delta(raw=whole)
        return self._take_events(whole)

    def end(self, rest: bytes) -> Delta | None:
        """The body has ended: the last Delta, if one is due, else `problem` says what is missing."""
        if rest.strip():
            delta = self._take_events(rest.rstrip(b"\r\n") + b"\n\n")  # an end without its blank line
            if self.done or self.problem is not None:
                return delta
        if self._done_optional and self._finished:
            self.done = True
            return self._delta(self._held + _DONE_EVENT, usage=self._usage, done=True)
        self.problem = UpstreamBroke(f"provider {self._provider!r} ended its stream without [DONE]: it was cut off")
        return self._flush(b"", None)

    def _take_events(self, whole: bytes) -> Delta | None:
        kept: list[bytes] = []
        usage: Usage | None = None
        spoke = False
        for event in events(whole):
            data = data_of(event)
            if data == _DONE:
                self.done = True
                kept += (self._held, event)
                return self._delta(b"".join(kept), usage=self._usage, done=True, speaks=spoke)
            if data is None:
                if not self._check_silent(event):
                    break
                kept.append(event)
                continue
            read = self._read(event, data)
            if read is None:
                break
            if read.usage is not None:
                usage = self._usage = read.usage
            if read.only_usage:
                self._held = event if self._keeps_usage else b""
            else:
                kept.append(event)
            spoke = spoke or read.speaks
        if self.problem is not None:
            return self._flush(b"".join(kept), usage)
        if not kept:
            return None
        return self._delta(b"".join(kept), usage=usage, speaks=spoke)

    def _read(self, event: bytes, data: bytes) -> _Read | None:
        """What an event with data says; None after setting `problem`."""
        try:
            found = _EVENT.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.problem = self._malformed()
            return None
        failed = isinstance(found.error, msgspec.Raw) and found.error != _NULL
        if failed or (b"event:" in event and name_of(event) == "error"):
            complaint = complaint_in(data)
            why = scrubbed(complaint.message, self._secrets) if complaint else "no reason was given"
            self.problem = UpstreamError(f"provider {self._provider!r} failed while answering: {why}")
            return None
        usage = usage_in(found.usage)
        if self._spoken and usage is None and not self._done_optional:
            return _PLAIN
        try:
            choices = _CHOICES.decode(data).choices
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            choices = None
        if choices is None:  # not a chunk as OpenAI writes it: hand it on, and take it for something said
            choices_known, speaks = False, True
        else:
            choices_known = True
            speaks = any(_speaks(choice) for choice in choices)
            self._finished = self._finished or any(choice.finish_reason for choice in choices)
        self._spoken = self._spoken or speaks
        return _Read(usage=usage, only_usage=usage is not None and choices_known and not choices, speaks=speaks)

    def _check_silent(self, event: bytes) -> bool:
        """Whether an event without data may stand: a comment, or fields we need not know."""
        if is_comment(event) or event.startswith((b"event:", b"id:", b"retry:")):
            return True
        if event.startswith(b"error:"):  # older llama.cpp
            complaint = complaint_in(b'{"error":' + event[6:].strip() + b"}")
            why = scrubbed(complaint.message, self._secrets) if complaint else "no reason was given"
            self.problem = UpstreamError(f"provider {self._provider!r} failed while answering: {why}")
        else:
            self.problem = self._malformed()
        return False

    def _malformed(self) -> UpstreamBroke:
        return UpstreamBroke(f"provider {self._provider!r} sent an event that is not JSON: its stream is damaged")

    def _flush(self, kept: bytes, usage: Usage | None) -> Delta | None:
        """Before a failure: what came, and the usage that would otherwise be lost with it."""
        raw = kept + self._held
        self._held = b""
        usage = usage or self._usage
        if usage is not None and not raw:
            raw = _KEEP_ALIVE  # a Delta must carry something to the client; a comment says nothing
        return self._delta(raw, usage=usage, speaks=bool(kept)) if raw else None

    def _delta(self, raw: bytes, *, usage: Usage | None, speaks: bool = False, done: bool = False) -> Delta:
        if not self._first:
            return Delta(raw=raw, usage=usage, speaks=speaks, done=done)
        self._first = False
        return Delta(raw=raw, usage=usage, speaks=speaks, done=done, model=self._model, provider=self._provider)


class _Read(msgspec.Struct, frozen=True, gc=False):
    usage: Usage | None
    only_usage: bool
    speaks: bool


_PLAIN: Final = _Read(usage=None, only_usage=False, speaks=True)


def _is_text(whole: bytes) -> bool:
    """Whether it is UTF-8: the decoder does not look into what it skips."""
    try:
        whole.decode()
    except UnicodeDecodeError:
        return False
    return True


def _speaks(choice: _Choice) -> bool:
    if choice.text:
        return True
    delta: dict[str, Any] = dict(choice.delta or {})
    delta.pop("role", None)
    return any(bytes(value) not in _SILENT for value in delta.values())
