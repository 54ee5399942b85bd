"""How an answer is said: in which language, and with what sentiment. Asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from loopwright.core.errors import BadRequest
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Output, Tools
from loopwright.evals.judge_prompt import text_of
from loopwright.evals.language import language
from loopwright.evals.plain import Plain

_READ: Final = 4_000
"""Characters whose sentiment is told: what takes some words of it in one breath grows with the square of their number."""
_SURE: Final = 0.05
"""VADER's own bound between neutral and not."""
_TELLING: Final = 60
"""Letters from which on a language is surely another than English."""
Which = Literal["answer", "question"]


def question_of(example: Example) -> str:
    """What was asked: a conversation's last question, or all inputs that are texts; empty where nothing was."""
    messages = example.inputs.get("messages")
    if not isinstance(messages, list):
        return text_of(example.inputs) if example.inputs else ""
    asked = [each.get("content") for each in messages if isinstance(each, Mapping) and each.get("role") == "user"]
    return next((each for each in reversed(asked) if isinstance(each, str)), "")


def text_in(which: Which, example: Example, output: Output) -> str:
    """The text to look at."""
    return output.text if which == "answer" else question_of(example)


def _letters(text: str) -> int:
    return sum(letter.isalpha() for letter in text[:_READ])


@dataclass(frozen=True, slots=True, kw_only=True)
class SentimentArgs:
    """Of `sentiment`."""

    of: Annotated[Which, "What is looked at"] = "answer"
    least: Annotated[float | None, "From which value on it passes; without, nothing is said of that"] = None


class Sentiment(Plain[SentimentArgs]):
    """Whether a text in English sounds negative or positive, -1 to 1, by VADER's lexicon and rules."""

    __slots__ = ()
    Args = SentimentArgs

    def find(self, example: Example, output: Output) -> Score:
        """VADER's compound, and a word for it."""
        text = text_in(self.args.of, example, output)[:_READ]
        if not text.strip():
            return self.missing(f"the {self.args.of} is empty")
        if _letters(text) >= _TELLING and (told := language(text)) not in (None, "en"):
            return self.missing(f"the lexicon is English, and this is {told!r}")
        value = float(_analyser().polarity_scores(text)["compound"])
        label = "neutral" if abs(value) < _SURE else "positive" if value > 0 else "negative"
        least = self.args.least
        return Score(name=self.name, value=value, label=label, passed=None if least is None else value >= least)


@lru_cache(maxsize=1)
def _analyser() -> Any:
    return SentimentIntensityAnalyzer()


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageArgs:
    """Of `language`."""

    of: Annotated[Which, "What is looked at"] = "answer"
    expected: Annotated[
        tuple[str, ...] | str | None,
        "Codes that are right, `en`; `question` is the question's own; without, nothing is said of that",
    ] = None
    letters: Annotated[int, "Of shorter texts no language is told: a guess at a few words is mostly wrong"] = 20


class Language(Plain[LanguageArgs]):
    """In which language a text is (ISO 639-1), and whether it is the right one."""

    __slots__ = ("_expected",)
    Args = LanguageArgs

    def prepare(self, tools: Tools) -> None:
        """The codes are some."""
        del tools
        told = self.args.expected
        self._expected = (told,) if isinstance(told, str) else told or ()
        for each in self._expected:
            if each != "question" and not (2 <= len(each) <= 3 and each.isalpha() and each.islower()):
                raise BadRequest(
                    f"{self.kind}: args.expected: {each[:20]!r} is no code of a language such as `en`",
                    param="args.expected",
                )

    def find(self, example: Example, output: Output) -> Score:
        """The language as a word; 1 or 0 where one is expected."""
        text = text_in(self.args.of, example, output)
        told = language(text) if _letters(text) >= self.args.letters else None
        if told is None:
            return self.missing(f"the {self.args.of} has too few letters to tell")
        if not self._expected:
            return Score(name=self.name, value=None, label=told)
        right = {language(question_of(example)) if each == "question" else each for each in self._expected}
        if right == {None}:
            return self.missing("the question has no letters")
        return self.verdict(told in right, label=told)
