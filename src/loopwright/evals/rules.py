"""Deterministic checks of one answer: patterns, texts it has to hold, its length, a JSON schema."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals import extraction
from loopwright.evals.evaluator import Output, Tools
from loopwright.evals.patterns import Pattern
from loopwright.evals.plain import Plain, clipped, references
from loopwright.evals.sentences import sentences
from loopwright.kit.schema import Schema, schema

_MOST_TEXTS: Final = 1_000
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegexArgs:
    """Of `regex`."""

    pattern: Annotated[str, "The pattern, in Rust's syntax: without look-arounds and back-references, `\\d` is 0 to 9"]
    match: Annotated[
        Literal["search", "full", "absent"],
        "`search`: it occurs somewhere; `full`: it is the whole answer; `absent`: it occurs nowhere",
    ] = "search"
    ignore_case: Annotated[bool, "Whether upper and lower case are the same"] = False


class Regex(Plain[RegexArgs]):
    """Whether a regular expression matches the answer; linear in time, whatever the pattern."""

    __slots__ = ("_pattern",)
    Args = RegexArgs

    def prepare(self, tools: Tools) -> None:
        """Compile."""
        del tools
        args = self.args
        self._pattern = Pattern(args.pattern, "args.pattern", whole=args.match == "full", ignore_case=args.ignore_case)

    def find(self, example: Example, output: Output) -> Score:
        """1 when it matches, or with `absent` when it does not."""
        del example
        text, cut = clipped(output.text)
        return self.verdict(self._pattern.found(text) is (self.args.match != "absent"), "", **cut)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainsArgs:
    """Of `contains`."""

    texts: Annotated[tuple[str, ...] | str | None, "What to look for; by default the example's expected texts"] = None
    how: Annotated[Literal["all", "any", "none"], "Whether all of them, any, or none must occur"] = "all"
    ignore_case: Annotated[bool, "Whether upper and lower case are the same"] = True
    words: Annotated[bool, "Whether only whole words count: `cat` is not in `concatenate`"] = False


class Contains(Plain[ContainsArgs]):
    """Whether texts occur in the answer."""

    Args = ContainsArgs

    def prepare(self, tools: Tools) -> None:
        """There is something to look for."""
        del tools
        texts = self.args.texts
        if texts is not None and (not texts or (not isinstance(texts, str) and not all(texts))):
            raise BadRequest(f"{self.kind}: args.texts: an empty text occurs everywhere", param="args.texts")
        if isinstance(texts, tuple) and len(texts) > _MOST_TEXTS:
            raise BadRequest(f"{self.kind}: args.texts: the limit is {_MOST_TEXTS} texts", param="args.texts")

    def find(self, example: Example, output: Output) -> Score:
        """1 when they occur as they must."""
        texts = self.args.texts
        wanted = references(example) if texts is None else (texts,) if isinstance(texts, str) else texts
        if not wanted:
            return self.missing("there is nothing to look for: neither args.texts nor an expected value")
        text = output.text.casefold() if self.args.ignore_case else output.text
        there = [self._in(text, each) for each in wanted]
        passed = {"all": all(there), "any": any(there), "none": not any(there)}[self.args.how]
        named = [each for each, found in zip(wanted, there, strict=True) if found is (self.args.how == "none")][:10]
        word = "occurs" if self.args.how == "none" else "is missing"
        return self.verdict(passed, "" if passed else f"{', '.join(repr(each[:80]) for each in named)} {word}")

    def _in(self, text: str, wanted: str) -> bool:
        looked = wanted.casefold() if self.args.ignore_case else wanted
        at = text.find(looked)
        while at >= 0 and self.args.words:
            before, after = text[at - 1 : at] if at else "", text[at + len(looked) : at + len(looked) + 1]
            if not (_wordy(before) and _wordy(looked[0])) and not (_wordy(after) and _wordy(looked[-1])):
                return True
            at = text.find(looked, at + 1)
        return at >= 0


def _wordy(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthArgs:
    """Of `length`."""

    unit: Annotated[
        Literal["characters", "words", "sentences", "lines", "tokens"],
        "What is counted; `tokens` are those that were billed",
    ] = "words"
    least: Annotated[int | None, "How many at least"] = None
    most: Annotated[int | None, "How many at most"] = None


class Length(Plain[LengthArgs]):
    """How long the answer is, and whether that is within bounds."""

    Args = LengthArgs

    def prepare(self, tools: Tools) -> None:
        """The bounds leave something."""
        del tools
        least, most = self.args.least, self.args.most
        if least is None and most is None:
            raise BadRequest(f"{self.kind}: give args.least, args.most or both", param="args")
        if (least or 0) < 0 or (most is not None and most < (least or 0)):
            raise BadRequest(f"{self.kind}: no length is from {least or 0} to {most}", param="args.most")

    def find(self, example: Example, output: Output) -> Score:
        """1 when it is within the bounds; the length is in the details."""
        del example
        text = output.text
        cut: dict[str, int] = {}
        if self.args.unit == "characters":
            count = len(text)
        elif self.args.unit == "lines":
            count = len(text.splitlines())
        elif self.args.unit == "tokens":
            count = output.output_tokens
        elif self.args.unit == "words":
            count = sum(1 for _ in _WORD.finditer(text))
        else:
            text, cut = clipped(text)
            count = len(sentences(text))
        passed = count >= (self.args.least or 0) and (self.args.most is None or count <= self.args.most)
        return self.verdict(passed, f"{count} {self.args.unit}", count=count, **cut)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonSchemaArgs:
    """Of `json_schema`."""

    schema: Annotated[dict[str, Any] | None, "The JSON schema; by default the answer must only be JSON"] = None
    lenient: Annotated[bool, "Whether JSON in a fence or between words counts, slight damage mended"] = False


class JsonSchema(Plain[JsonSchemaArgs]):
    """Whether the answer is JSON and valid against a schema."""

    __slots__ = ("_schema",)
    Args = JsonSchemaArgs

    def prepare(self, tools: Tools) -> None:
        """Compile the schema."""
        del tools
        self._schema: Schema | None = None if self.args.schema is None else schema(self.args.schema, "args.schema")

    def find(self, example: Example, output: Output) -> Score:
        """1 when it is valid; the explanation names what is not, with its place."""
        del example
        value = output.value
        if value is None:
            try:
                value = extraction.json(output.text) if self.args.lenient else msgspec.json.decode(output.text)
            except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
                return self.verdict(passed=False, why=f"no JSON: {error}"[:300])
            if value is None and self.args.lenient:
                return self.verdict(passed=False, why="it holds no JSON")
        problems = [] if self._schema is None else self._schema.problems(value)
        return self.verdict(not problems, "; ".join(problems))
