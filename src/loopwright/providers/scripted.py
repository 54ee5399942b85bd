"""The fake that is shipped: answers from a script, without a network. Deterministic; for tests, demos and dry runs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
import re
import struct
from collections.abc import AsyncGenerator, Iterator, Mapping
from string import Template
from typing import Any, Final

import msgspec

from loopwright.core.chat import Chat, Delta, Request
from loopwright.core.errors import (
    BadRequest,
    Busy,
    ContextOverflow,
    LoopwrightError,
    SettingsError,
    Unavailable,
    UpstreamBroke,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from loopwright.core.money import Usage
from loopwright.kit.nearest import hint
from loopwright.kit.settings import ProviderSettings

_ERRORS: Final[Mapping[str, type[LoopwrightError]]] = {
    kind.code: kind
    for kind in (
        BadRequest,
        Busy,
        ContextOverflow,
        Unavailable,
        UpstreamBroke,
        UpstreamError,
        UpstreamRefused,
        UpstreamTimeout,
    )
}
_WORD: Final = re.compile(r"\s*\S+")


class _Strict(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    pass


class _ToolCall(_Strict):
    name: str
    arguments: dict[str, Any] = {}


class _Failure(_Strict):
    code: str
    message: str = "the script says so"
    retry_after: float | None = None
    after: int = 0
    """Pieces that are answered before it fails."""


class _Rule(_Strict):
    match: str | None = None
    """A regular expression searched in the last user message; its named groups can be used in `text`. None: always."""
    results: bool | None = None
    """Whether the conversation must end with the result of a tool; None: it does not matter."""
    text: str = ""
    """`$last`, `$result`, `$system`, `$model`, `$turns` and the groups of `match` are filled in."""
    reasoning: str = ""
    """Thought before anything is said."""
    tool_calls: list[_ToolCall] = []
    error: _Failure | None = None
    finish: str | None = None
    delay: float | None = None


class _Script(_Strict):
    answers: list[_Rule] | dict[str, str] = []
    """Rules, the first that matches answers; or a table from last user message to text."""
    otherwise: str = "$last"
    """The text when nothing matches."""
    delay: float = 0.0
    """Seconds before the first piece."""
    between: float = 0.0
    """Seconds between pieces."""
    chunk: int = 1
    """Words in a piece."""
    dimensions: int = 8
    """Of embeddings."""
    models: list[str] = msgspec.field(default_factory=lambda: ["scripted"])


class Scripted:
    """A provider that plays a script (`settings.args`, see the fields of the script and its rules)."""

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        """Raises SettingsError when the script is malformed."""
        self.name = name
        where = f"providers.{name}.args"
        try:
            self._script = msgspec.convert(dict(settings.args), _Script)
        except msgspec.ValidationError as problem:
            raise SettingsError(f"{where}: {problem}") from None
        if self._script.chunk < 1 or self._script.dimensions < 1:
            raise SettingsError(f"{where}: `chunk` and `dimensions` must be 1 or more")
        answers = self._script.answers
        if isinstance(answers, dict):
            answers = [_Rule(match=rf"\A{re.escape(asked)}\Z", text=text) for asked, text in answers.items()]
        self._rules: list[tuple[re.Pattern[str] | None, _Rule]] = []
        for i, rule in enumerate(answers):
            if rule.error is not None and rule.error.code not in _ERRORS:
                code = rule.error.code
                raise SettingsError(f"{where}.answers[{i}].error.code: {code!r} is not known{hint(code, _ERRORS)}")
            try:
                self._rules.append((None if rule.match is None else re.compile(rule.match), rule))
            except re.error as problem:
                raise SettingsError(f"{where}.answers[{i}].match is not a regular expression: {problem}") from None
        self._rules.append((None, _Rule(text=self._script.otherwise)))

    def chat(self, upstream_model: str, /) -> Chat:
        """A Chat that plays the script."""

        def ask(request: Request, /) -> AsyncGenerator[Delta, None]:
            if request.operation == "embeddings":
                return self._embed(request, upstream_model)
            return self._play(request, upstream_model)

        return ask

    async def models(self) -> list[str]:
        """The names the script gives itself."""
        return sorted(self._script.models)

    async def close(self) -> None:
        """Nothing to close."""

    async def _play(self, request: Request, model: str) -> AsyncGenerator[Delta, None]:
        if request.operation in ("moderations", "rerank"):
            raise BadRequest(f"a script does not do {request.operation}", param="model")
        last = _last(request.body)
        rule, groups = self._find(last, results=_ends_with_result(request.body))
        words = {
            "last": last,
            "result": _said_by(request.body, "tool"),
            "system": _system(request.body),
            "model": model,
            **groups,
        }
        text = Template(rule.text).safe_substitute(words, turns=len(request.body.get("messages") or ()))
        pieces, cut = self._pieces(text, request.body)
        await asyncio.sleep(self._script.delay if rule.delay is None else rule.delay)
        if rule.error is not None and rule.error.after == 0:
            raise _error(rule.error)
        finish = rule.finish or ("length" if cut else "tool_calls" if rule.tool_calls else "stop")
        answered = 0
        for index in range(int(request.body.get("n") or 1)):
            named, by = (model, self.name) if index == 0 else ("", "")
            yield Delta(extra={"role": "assistant"}, index=index, speaks=False, model=named, provider=by)
            for number, delta in enumerate(_said(pieces, rule, index, answered)):
                if number and self._script.between:
                    await asyncio.sleep(self._script.between)
                yield delta
            answered += len(pieces)
            yield Delta(index=index, finish=finish, speaks=False)
        output = sum(len(piece.split()) for piece in pieces) + len(rule.tool_calls)
        usage = Usage(input=_words(request.body), output=output * int(request.body.get("n") or 1))
        yield Delta(usage=usage, done=True, speaks=False)

    def _find(self, last: str, *, results: bool) -> tuple[_Rule, dict[str, str]]:
        for pattern, rule in self._rules:
            if rule.results not in (None, results):
                continue
            if pattern is None:
                return rule, {}
            found = pattern.search(last)
            if found is not None:
                return rule, {name: value or "" for name, value in found.groupdict().items()}
        raise AssertionError("the last rule matches everything")

    def _pieces(self, text: str, body: Mapping[str, Any]) -> tuple[list[str], bool]:
        """The text in pieces of `chunk` words, and whether `max_tokens` (words, here) cut it short."""
        words = _WORD.findall(text)
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        kept = words if limit is None else words[: int(limit)]
        chunk = self._script.chunk
        return ["".join(kept[i : i + chunk]) for i in range(0, len(kept), chunk)], len(kept) < len(words)

    async def _embed(self, request: Request, model: str) -> AsyncGenerator[Delta, None]:
        await asyncio.sleep(self._script.delay)
        asked = request.body.get("input", "")
        texts = asked if isinstance(asked, list) else [asked]
        size = int(request.body.get("dimensions") or self._script.dimensions)
        data: list[dict[str, Any]] = []
        for index, text in enumerate(texts):
            vector: Any = _vector(text if isinstance(text, str) else json.dumps(text), size)
            if request.body.get("encoding_format") == "base64":
                vector = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
            data.append({"object": "embedding", "index": index, "embedding": vector})
        used = sum(len(str(text).split()) for text in texts)
        counts = {"prompt_tokens": used, "total_tokens": used}
        raw = msgspec.json.encode({"object": "list", "model": model, "data": data, "usage": counts})
        yield Delta(raw=raw, usage=Usage(input=used), done=True, model=model, provider=self.name)


def _said(pieces: list[str], rule: _Rule, index: int, answered: int) -> Iterator[Delta]:
    """What one choice says, up to the error the rule may ask for after so many pieces in all."""
    if rule.reasoning:
        yield Delta(extra={"reasoning_content": rule.reasoning}, index=index)
    for number, piece in enumerate(pieces):
        if rule.error is not None and answered + number >= rule.error.after:
            raise _error(rule.error)
        yield Delta(text=piece, index=index)
    if rule.error is not None:
        raise _error(rule.error)
    for number, call in enumerate(rule.tool_calls):
        arguments = json.dumps(call.arguments)
        mark = hashlib.sha256(f"{index}:{number}:{call.name}:{arguments}".encode()).hexdigest()[:16]
        function = {"name": call.name, "arguments": arguments}
        part = {"index": number, "id": f"call_{mark}", "type": "function", "function": function}
        yield Delta(extra={"tool_calls": [part]}, index=index)


def _error(failure: _Failure) -> LoopwrightError:
    return _ERRORS[failure.code](failure.message, retry_after=failure.retry_after)


def _texts(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(role, text) of every message; a bare prompt counts as the user's."""
    if "messages" not in body:
        prompt = body.get("prompt", "")
        yield "user", prompt if isinstance(prompt, str) else json.dumps(prompt)
        return
    for message in body["messages"]:
        content = message.get("content") or ""
        if not isinstance(content, str):
            content = "".join(part.get("text", "") for part in content if part.get("type") == "text")
        yield message.get("role", ""), content


def _last(body: Mapping[str, Any]) -> str:
    return _said_by(body, "user")


def _said_by(body: Mapping[str, Any], who: str) -> str:
    """The last text of a role."""
    return next((text for role, text in reversed(list(_texts(body))) if role == who), "")


def _ends_with_result(body: Mapping[str, Any]) -> bool:
    roles = [role for role, _ in _texts(body)]
    return roles[-1:] in (["tool"], ["function"])


def _system(body: Mapping[str, Any]) -> str:
    return "\n".join(text for role, text in _texts(body) if role in ("system", "developer"))


def _words(body: Mapping[str, Any]) -> int:
    return sum(len(text.split()) for _, text in _texts(body))


def _vector(text: str, size: int) -> list[float]:
    """A unit vector that is always the same for the same text."""
    numbers = [int.from_bytes(hashlib.sha256(f"{i}:{text}".encode()).digest()[:4]) / 2**31 - 1 for i in range(size)]
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return [number / length for number in numbers]
