"""Classic matches of an answer with its reference: exact, as numbers, as the choice among options, word for word."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from loopwright.core.errors import BadRequest
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals import extraction
from loopwright.evals.evaluator import Method, Output, Tools
from loopwright.evals.plain import Plain, clipped, references, said

Part = Literal["all", "first_line", "last_line", "answer"]
Unread = Literal["wrong", "missing"]
_NO_REFERENCE: Final = "the example has no expected value"
_ARTICLES: Final = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION: Final = str.maketrans("", "", string.punctuation + "\u2018\u2019\u201c\u201d")
_MOST_OPTIONS: Final = 100


def part_of(text: str, part: Part) -> str:
    """As much of an answer as is compared."""
    if part == "all":
        return text.strip()
    return {"first_line": extraction.first_line, "last_line": extraction.last_line, "answer": extraction.answer}[part](
        text
    )


def loosened(text: str) -> str:
    """As SQuAD compares: lower case, without punctuation and articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactArgs:
    """Of `exact_match`."""

    normalise: Annotated[
        Literal["strip", "case", "squad"],
        "What does not count: `strip` white space around, `case` also upper and lower case, `squad` also punctuation, "
        "articles and runs of white space",
    ] = "strip"
    part: Annotated[Part, "As much of the answer as is compared; `answer` is what it states as its answer"] = "all"


class ExactMatch(Plain[ExactArgs]):
    """Whether the answer is the reference, or one of them; JSON is compared as JSON."""

    Args = ExactArgs
    method: Method = "classic"

    def find(self, example: Example, output: Output) -> Score:
        """1 when it is one of the references."""
        expected = example.expected
        if expected is None:
            return self.missing(_NO_REFERENCE)
        if isinstance(expected, Mapping) or (isinstance(expected, list) and not _texts(expected)):
            value = output.value if output.value is not None else extraction.json(output.text)
            return self.verdict(_same(value, expected), "compared as JSON")
        answer = self._plain(part_of(output.text, self.args.part))
        return self.verdict(any(answer == self._plain(each) for each in references(example)))

    def _plain(self, text: str) -> str:
        if self.args.normalise == "squad":
            return loosened(text)
        return text.strip().casefold() if self.args.normalise == "case" else text.strip()


def _texts(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(each, str | int | float) and not isinstance(each, bool) for each in values)


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 is 1.0, but true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericArgs:
    """Of `numeric_match`."""

    tolerance: Annotated[float, "How far off may be, absolutely"] = 0.0
    relative: Annotated[float, "How far off may be, as a part of the reference"] = 1e-6
    unread: Annotated[Unread, "What an answer without a number is"] = "wrong"


class NumericMatch(Plain[NumericArgs]):
    """Whether the number an answer gives (marked as its answer, else its last) is the reference's."""

    Args = NumericArgs
    method: Method = "classic"

    def prepare(self, tools: Tools) -> None:
        """Tolerances are not negative."""
        del tools
        for name in ("tolerance", "relative"):
            if not 0 <= getattr(self.args, name) < 1e300:
                raise BadRequest(f"{self.kind}: args.{name} is a number from 0 up", param=f"args.{name}")

    def find(self, example: Example, output: Output) -> Score:
        """1 when it is one of the references, within the tolerance."""
        wanted = [found for each in _values(example.expected) if (found := extraction.as_number(each)) is not None]
        if not wanted:
            return self.missing(_NO_REFERENCE if example.expected is None else "the expected value holds no number")
        given = extraction.as_number(output.value)
        if given is None:
            given = extraction.number(output.text)
        if given is None:
            return unread(self, self.args.unread, "the answer holds no number")
        right = any(abs(given - each) <= max(self._tolerance, abs(each) * self._relative) for each in wanted)
        return self.verdict(right, extracted=said(float(given)), expected=[said(float(each)) for each in wanted[:10]])

    @property
    def _tolerance(self) -> Decimal:
        return Decimal(str(self.args.tolerance))

    @property
    def _relative(self) -> Decimal:
        return Decimal(str(self.args.relative))


def _values(expected: Any) -> list[Any]:
    return list(expected) if isinstance(expected, list | tuple) else [expected]


def unread(evaluator: Plain[Any], as_what: Unread, why: str) -> Score:
    """The finding on an answer in which no answer could be found: labelled `unread`, so that it can be counted."""
    if as_what == "missing":
        return evaluator.missing(why)
    return evaluator.verdict(passed=False, why=why, label="unread")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceArgs:
    """Of `choice_match`."""

    options: Annotated[
        dict[str, str] | tuple[str, ...] | None,
        "The labels, or each label with its text; by default the example's `choices` (in metadata or inputs), "
        "labelled A, B, C …",
    ] = None
    unread: Annotated[Unread, "What an answer that takes no option is"] = "wrong"


class ChoiceMatch(Plain[ChoiceArgs]):
    """Whether the answer takes the right option, be it by letter, by text, or after an explanation."""

    Args = ChoiceArgs
    method: Method = "classic"

    def prepare(self, tools: Tools) -> None:
        """Two options at least."""
        del tools
        options = self.args.options
        if options is not None and not 2 <= len(options) <= _MOST_OPTIONS:
            raise BadRequest(f"{self.kind}: args.options: 2 to {_MOST_OPTIONS} options", param="args.options")

    def find(self, example: Example, output: Output) -> Score:
        """1 when it is the option expected: its label, its text or its position from 0."""
        options = options_of(example, self.args.options)
        if options is None:
            return self.missing("there are no options: neither args.options nor the example's `choices`")
        right = expected_option(example.expected, options)
        if right is None:
            return self.missing("the expected value is none of the options")
        taken = extraction.choice(output.text, options)
        if taken is None:
            return unread(self, self.args.unread, "the answer takes none of the options, or several")
        return self.verdict(taken == right, label=taken, extracted=taken, expected=right)


def options_of(
    example: Example, given: Mapping[str, str] | tuple[str, ...] | None = None
) -> Mapping[str, str] | tuple[str, ...] | None:
    """The options of an example, labelled A, B, C … where they have no labels; None without."""
    if given is not None:
        return given
    for source in (example.metadata, example.inputs):
        found = source.get("choices")
        if isinstance(found, Mapping) and 2 <= len(found) <= _MOST_OPTIONS:
            return {str(label): said(text) for label, text in found.items()}
        if isinstance(found, list | tuple) and 2 <= len(found) <= len(string.ascii_uppercase):
            return {string.ascii_uppercase[at]: said(text) for at, text in enumerate(found)}
    return None


def expected_option(expected: Any, options: Mapping[str, str] | tuple[str, ...]) -> str | None:
    """The label of the right option."""
    labels = list(options)
    if isinstance(expected, list | tuple) and len(expected) == 1:
        expected = expected[0]
    if isinstance(expected, int) and not isinstance(expected, bool):
        # A position, unless the labels are numbers themselves.
        return str(expected) if str(expected) in labels else labels[expected] if 0 <= expected < len(labels) else None
    if not isinstance(expected, str):
        return None
    if expected in labels:
        return expected
    folded = expected.strip().casefold()
    texts = options.items() if isinstance(options, Mapping) else [(label, label) for label in labels]
    return next((label for label, text in texts if folded in (label.casefold(), text.strip().casefold())), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenF1Args:
    """Of `token_f1`."""

    least: Annotated[float | None, "From which F1 on an answer passes; without, nothing is said of that"] = None


class TokenF1(Plain[TokenF1Args]):
    """F1 of the words that answer and reference share, as SQuAD counts them; of several references the best."""

    Args = TokenF1Args
    method: Method = "classic"

    def find(self, example: Example, output: Output) -> Score:
        """From 0 to 1."""
        wanted = references(example)
        if not wanted:
            return self.missing(_NO_REFERENCE)
        text, cut = clipped(output.text)
        return self.figure(max(word_f1(text, each) for each in wanted), least=self.args.least, **cut)


def word_f1(one: str, other: str) -> float:
    """2PR / (P + R) over words with their counts, both loosened. Rajpurkar et al. 2016."""
    a, b = Counter(loosened(one).split()), Counter(loosened(other).split())
    if not a or not b:
        return float(a == b)
    shared = (a & b).total()
    return 2 * shared / (a.total() + b.total())
