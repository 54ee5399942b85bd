"""How long prompts and answers of a load are: fixed, drawn from a distribution, or as a trace has them."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Final

from loopwright.core.errors import BadRequest

Draw = Callable[[Random], int]
"""One length in tokens."""

_PROMPT_NAMES: Final = ("contexttokens", "prompttokens", "inputtokens", "inputlength", "promptlen")
_OUTPUT_NAMES: Final = ("generatedtokens", "completiontokens", "outputtokens", "outputlength", "outputlen")
_LONGEST: Final = 10_000_000
# Short and common, so that about every tokenizer makes one token of each with its blank.
_WORDS: Final = (  # noqa: SIM905 - a hundred quoted words would read worse
    "time year people way day man thing woman life child world school state family student group country problem "
    "hand part place case week company system program question work number night point home water room mother area "
    "money story fact month lot right study book eye job word business issue side kind head house service friend "
    "father power hour game line end member law car city name team minute idea body back parent face other level "
    "office door health person art war history party result change morning reason research girl guy moment air"
).split()


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """Tokens of one request."""

    prompt: int
    output: int
    """The most that may be answered."""


def draw_of(text: str) -> Draw:
    """How to draw from `200`, `uniform:100:300` (both included), or `lognormal:200:50` (mean and standard deviation).

    Raises:
        BadRequest: it is none of these.
    """
    kind, *numbers = text.strip().lower().split(":")
    try:
        if not numbers:
            fixed = int(kind)
            if 1 <= fixed <= _LONGEST:
                return lambda _random: fixed
        elif kind == "uniform" and len(numbers) == 2:
            low, high = int(numbers[0]), int(numbers[1])
            if 1 <= low <= high <= _LONGEST:
                return lambda random: random.randint(low, high)
        elif kind == "lognormal" and len(numbers) == 2:
            mean, deviation = float(numbers[0]), float(numbers[1])
            if 1 <= mean <= _LONGEST and 0 <= deviation <= _LONGEST:
                return _lognormal(mean, deviation)
    except ValueError:
        pass
    message = (
        f"{text!r} is no length in tokens\nWrite 200, uniform:100:300 or lognormal:200:50 (mean, standard deviation)"
    )
    raise BadRequest(message)


def drawn(prompt: Draw, output: Draw, random: Random) -> Iterator[Length]:
    """Lengths without end, prompt and output independent of each other."""
    while True:
        yield Length(prompt=prompt(random), output=output(random))


def trace_of(path: Path) -> tuple[Length, ...]:
    """The lengths of a CSV file with a header, in its order.

    Columns are found by name, e.g. `ContextTokens,GeneratedTokens` (the Azure LLM inference traces) or
    `prompt_tokens,output_tokens`.

    Raises:
        BadRequest: no such file, no such columns, or a row without two numbers; the message names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [re.sub(r"[^a-z]", "", name.lower()) for name in next(reader, [])]
            prompt_at, output_at = _column(header, _PROMPT_NAMES, path), _column(header, _OUTPUT_NAMES, path)
            found = tuple(_length(row, prompt_at, output_at, path, reader.line_num) for row in reader if row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadRequest(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not found:
        raise BadRequest(f"{path} has a header and no rows")
    return found


def replayed(trace: Sequence[Length]) -> Iterator[Length]:
    """A trace again and again."""
    return cycle(trace)


def prompt_text(words: int, random: Random) -> str:
    """A text of `words` random words: no two are alike, so that no cache answers."""
    return " ".join(random.choices(_WORDS, k=max(words, 1)))


def _lognormal(mean: float, deviation: float) -> Draw:
    # The parameters of the underlying normal from the moments of the lognormal.
    variance = math.log1p((deviation / mean) ** 2)
    mu, sigma = math.log(mean) - variance / 2, math.sqrt(variance)
    return lambda random: min(max(round(random.lognormvariate(mu, sigma)), 1), _LONGEST)


def _column(header: Sequence[str], names: Sequence[str], path: Path) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    raise BadRequest(
        f"{path} has no column for {names[1]}\nIts first line must name one, e.g. ContextTokens,GeneratedTokens"
    )


def _length(row: Sequence[str], prompt_at: int, output_at: int, path: Path, line: int) -> Length:
    try:
        prompt, output = int(row[prompt_at]), int(row[output_at])
    except (ValueError, IndexError):
        raise BadRequest(f"{path}:{line}: not two numbers of tokens") from None
    if not 0 <= prompt <= _LONGEST or not 0 <= output <= _LONGEST:
        raise BadRequest(f"{path}:{line}: a number of tokens must be from 0 to {_LONGEST:,}")
    return Length(prompt=max(prompt, 1), output=max(output, 1))
