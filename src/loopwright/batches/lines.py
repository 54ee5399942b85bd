"""The lines of a batch's input: checked all before the first is asked, and read again one by one to be asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import msgspec

from loopwright.batches.batch import ENDPOINTS, Problem
from loopwright.kit.moderating import HOUSE_MODEL

MOST_PROBLEMS: Final = 100
"""That are told of one file."""
_LONGEST_ID: Final = 512
_BOM: Final = b"\xef\xbb\xbf"
_SKIP: Final = 1 << 20
Judge = Callable[[str], Problem | None]
"""Says of the name of a model why the key may not ask it, or None."""


class _Line(msgspec.Struct):
    """What a line must have; the rest is skipped."""

    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _Body(msgspec.Struct):
    model: str = ""
    """Only moderations may leave it out: then our own guardrails judge."""
    stream: bool | None = None


_LINE: Final = msgspec.json.Decoder(_Line)
_BODY: Final = msgspec.json.Decoder(_Body)


@dataclass(frozen=True, slots=True)
class Line:
    """One request of a batch."""

    number: int
    """From 1."""
    custom_id: str
    model: str
    body: bytes


@dataclass(slots=True)
class Checked:
    """What was found in an input."""

    total: int = 0
    model: str = ""
    """Of the first line."""
    problems: list[Problem] = field(default_factory=list)
    """Without any, the lines may be asked."""


class _Wrong(Exception):
    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


def check(file: BinaryIO, endpoint: str, *, judge: Judge, lines: int, longest: int) -> Checked:
    """Read the whole input and say everything that is wrong with it, up to a hundred problems.

    Args:
        file: the input, at its beginning.
        endpoint: which route every line must ask.
        judge: what the key may ask.
        lines: how many there may be.
        longest: bytes of one line.
    """
    found = Checked()
    seen: set[bytes] = set()
    judged: dict[str, Problem | None] = {}
    for number, raw in _raw(file, longest):
        found.total += 1
        if found.total > lines:
            found.problems.append(
                Problem(
                    code="too_many_lines",
                    message=f"the file has more than {lines:,} lines (batches.lines)",
                    line=number,
                )
            )
            return found
        try:
            line = _read(number, raw, endpoint, longest)
            _check_alone(line, seen)
            if line.model not in judged:
                judged[line.model] = judge(line.model)
            _check_judged(judged[line.model])
            found.model = found.model or line.model
        except _Wrong as wrong:
            found.problems.append(Problem(code=wrong.code, message=str(wrong), line=number, param=wrong.param))
            if len(found.problems) == MOST_PROBLEMS:
                return found
    if not found.total:
        found.problems.append(Problem(code="empty_file", message="the file has no lines: nothing to ask"))
    return found


def lines(file: BinaryIO, endpoint: str, *, longest: int, skip: Container[int] = ()) -> Iterator[Line]:
    """The lines of a checked input but those numbered in `skip`, one in memory at a time."""
    for number, raw in _raw(file, longest):
        if number not in skip:
            yield _read(number, raw, endpoint, longest)


def _raw(file: BinaryIO, longest: int) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers, without blank ones; of a too long one, one byte more than may be."""
    number = 0
    while raw := file.readline(longest + 2):
        number += 1
        whole = raw.endswith(b"\n")
        while not whole and (rest := file.readline(_SKIP)):
            raw, whole = raw + rest[:1] if len(raw) <= longest else raw, rest.endswith(b"\n")
        if number == 1:
            raw = raw.removeprefix(_BOM)
        if stripped := raw.strip():
            yield number, stripped


def _check_alone(line: Line, seen: set[bytes]) -> None:
    digest = hashlib.blake2b(line.custom_id.encode(), digest_size=16).digest()
    if digest in seen:
        raise _Wrong("duplicate_custom_id", f"custom_id {line.custom_id[:80]!r} is there twice", "custom_id")
    seen.add(digest)


def _check_judged(problem: Problem | None) -> None:
    if problem is not None:
        raise _Wrong(problem.code, problem.message, "body.model")


def _read(number: int, raw: bytes, endpoint: str, longest: int) -> Line:
    if len(raw) > longest:
        raise _Wrong("line_too_long", f"the line is longer than {longest:,} bytes (server.body_limit)")
    try:
        raw.decode()
        line = _LINE.decode(raw)
        body = bytes(line.body)
        asked = _BODY.decode(body)
    except UnicodeDecodeError as error:
        raise _Wrong("invalid_json_line", f"the line is not UTF-8: {error.reason} at byte {error.start}") from None
    except msgspec.ValidationError as error:
        raise _Wrong("invalid_line", str(error).replace("`", "")) from None
    except msgspec.DecodeError as error:
        raise _Wrong("invalid_json_line", f"the line is not JSON: {error}") from None
    except RecursionError:
        raise _Wrong("invalid_json_line", "the line is nested too deeply") from None
    _check_words(line, endpoint)
    if asked.stream:
        raise _Wrong("invalid_stream", "body.stream: a batch answers whole; leave it out", "body.stream")
    model = asked.model or (HOUSE_MODEL if ENDPOINTS[endpoint] == "moderations" else "")
    if not model:
        raise _Wrong("invalid_line", "body.model: name the model that is to answer", "body.model")
    return Line(number, line.custom_id, model, body)


def _check_words(line: _Line, endpoint: str) -> None:
    if not 0 < len(line.custom_id) <= _LONGEST_ID:
        raise _Wrong("invalid_custom_id", f"custom_id: a text of 1 to {_LONGEST_ID} characters", "custom_id")
    if line.method != "POST":
        raise _Wrong("invalid_method", f"method: {line.method[:20]!r}; only POST is allowed", "method")
    if line.url not in ENDPOINTS:
        raise _Wrong("invalid_url", f"url: {line.url[:80]!r} is none of {', '.join(ENDPOINTS)}", "url")
    if line.url != endpoint:
        raise _Wrong("mismatched_url", f"url: {line.url} is not the batch's endpoint, {endpoint}", "url")
