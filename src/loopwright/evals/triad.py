"""The triad of answers from documents: is what was found relevant, does the answer stand on it, does it answer the question.

Each is measured by words and meaning, or by a model that judges. The passages are those that were looked up for the answer
and stand on its record; where the example has its own, those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from loopwright.core.chat import Embedder
from loopwright.core.errors import BadRequest
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Method, Output, Tools
from loopwright.evals.judge import ChatAsk, Ruling, cost_of, rule
from loopwright.evals.judge_definition import Definition, definition_of
from loopwright.evals.judge_prompt import Material, text_of
from loopwright.evals.plain import LONGEST, Plain, clipped
from loopwright.evals.similar import Grounded, content_words, cosine, passages_of

_EMBEDDED: Final = 8_000
_JUDGED: Final = 10
"""Passages that a judge reads."""
_MEASURED: Final = 50
_EVASIVE: Final = re.compile(
    r"\b(?:i|we) (?:do not|don['\u2019]t|cannot|can['\u2019]t|am unable to|are unable to) (?:know|say|tell|answer|find|help)"
    r"|\bdocuments? (?:do|does) not (?:say|tell|contain|mention)|\bnot (?:in|mentioned in) the (?:documents?|context|passages?)"
    r"|\bno (?:relevant )?information (?:about|on|in)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriadArgs:
    """Of the three."""

    judged_by: Annotated[str | None, "A model that judges; without, words and meaning are compared"] = None
    question: Annotated[
        str | None, "Which of the example's inputs is the question; else the only one, or a conversation's last"
    ] = None
    context: Annotated[
        str, "Which of the example's inputs (or metadata) holds passages; where it has none, those that were looked up"
    ] = "context"
    embedder: Annotated[str | None, "The embedding model; by default the house's own"] = None
    least: Annotated[float | None, "From which value on an answer passes; without, nothing is said of that"] = None


class _Triad(Plain[TriadArgs]):
    """What the three share."""

    __slots__ = ("_ask", "_embed", "definition")
    Args = TriadArgs
    judge: ClassVar[str]
    """The known judge that stands for it."""
    definition: Definition | None

    def prepare(self, tools: Tools) -> None:
        """Find the model that judges, or the one that embeds."""
        self.definition, self._ask = None, None
        self._embed: Embedder | None = None
        if self.args.judged_by is not None:
            self.definition = definition_of(self.judging or {})
            self._ask = None if tools.chat is None else ChatAsk(tools.chat, tools.who)
        elif tools.embedder is None:
            raise BadRequest(
                f"{self.kind}: there is no embedding model here; args.judged_by names a judge", param="kind"
            )
        else:
            self._embed = tools.embedder(self.args.embedder)

    @property
    def method(self) -> Method:  # type: ignore[override]  # of a class elsewhere; here the arguments decide
        """By a judge, or with the help of a model."""
        return "model-assisted" if self.args.judged_by is None else "judge"

    @property
    def judging(self) -> Mapping[str, Any] | None:
        """The judge that it is, whose card says how far to trust it; None is without."""
        model = self.args.judged_by
        return None if model is None else {"judge": self.judge, "model": model}

    def question_of(self, example: Example) -> str:
        """What was asked; empty where nothing was."""
        if self.args.question is not None:
            found = example.inputs.get(self.args.question)
            return found if isinstance(found, str) else ""
        messages = example.inputs.get("messages")
        if isinstance(messages, list):
            asked = [
                each.get("content") for each in messages if isinstance(each, Mapping) and each.get("role") == "user"
            ]
            return next((each for each in reversed(asked) if isinstance(each, str)), "")
        texts = {name: value for name, value in example.inputs.items() if name != self.args.context}
        return text_of(texts) if texts else ""

    def passages(self, example: Example, output: Output) -> list[str]:
        """What the answer stands on, the nearest first."""
        return passages_of(example, self.args.context) or [each[:LONGEST] for each in output.passages if each.strip()]

    async def ruled(self, material: Material) -> tuple[float | None, Ruling]:
        """A verdict as a number."""
        if self.definition is None or self._ask is None:
            raise BadRequest(f"{self.name}: a judge needs a model to ask, and there is no road here", param="kind")
        ruling = await rule(self.definition, material, self._ask)
        label = ruling.verdict.label
        return (None if label is None else self.definition.labels[label]), ruling

    async def near(self, one: str, others: Sequence[str]) -> list[float]:
        """Cosines with one text, 0 at least."""
        assert self._embed is not None
        texts = list(dict.fromkeys(each[:_EMBEDDED] for each in (one, *others)))
        vectors = dict(zip(texts, await self._embed(texts), strict=True))
        return [max(0.0, cosine(vectors[one[:_EMBEDDED]], vectors[each[:_EMBEDDED]])) for each in others]

    def judged(self, found: Sequence[tuple[float | None, Ruling]], value: float | None, **details: Any) -> Score:
        """A score by a judge, with what it cost."""
        cost = cost_of(ruling.said for _, ruling in found)
        if value is None:
            why = next((each.verdict.missing for _, each in found if each.verdict.missing), "no verdict")
            return Score(name=self.name, value=None, missing=why, cost_nano=cost, details=details)
        return Score(
            name=self.name,
            value=value,
            passed=None if self.args.least is None else value >= self.args.least,
            explanation="\n".join(each.verdict.explanation for _, each in found if each.verdict.explanation),
            details={"model": self.args.judged_by, **details},
            cost_nano=cost,
        )


class ContextRelevance(_Triad):
    """How much of what was found helps to answer the question, 0 to 1: the mean over passages."""

    __slots__ = ()
    judge = "relevant_passage"

    async def measured(self, example: Example, output: Output) -> Score:
        """The mean; each passage and the best one are in the details."""
        question, passages = self.question_of(example), self.passages(example, output)
        if not question.strip():
            return self.missing("the example has no question")
        if not passages:
            return self.missing("nothing was looked up for the answer, and the example has no passages")
        if self.args.judged_by is not None:
            found = [await self.ruled(Material(input=question, answer=each)) for each in passages[:_JUDGED]]
            values = [value for value, _ in found if value is not None]
            mean = sum(values) / len(values) if values else None
            return self.judged(found, mean, passages=[value for value, _ in found])
        some = passages[:_MEASURED]
        words = set(content_words(question))
        near = await self.near(question, some)
        shared = [
            len(words & set(content_words(each))) / len(words) if words else meant
            for each, meant in zip(some, near, strict=True)
        ]
        values = [(one + other) / 2 for one, other in zip(shared, near, strict=True)]
        rounded = [round(each, 4) for each in values]
        return self.figure(sum(values) / len(values), least=self.args.least, passages=rounded, best=max(rounded))


class Groundedness(_Triad):
    """How much of the answer stands in what was found, 0 to 1: as `grounded`, or by a judge."""

    __slots__ = ("_grounded",)
    judge = "faithful"

    def prepare(self, tools: Tools) -> None:
        """Find what it needs."""
        super().prepare(tools)
        self._grounded: Grounded | None = None
        if self.args.judged_by is None:
            args = {"context": self.args.context, "model": self.args.embedder, "least": self.args.least}
            said = {name: value for name, value in args.items() if value is not None}
            self._grounded = Grounded(kind="grounded", name=self.name, args=said, tools=tools)

    async def measured(self, example: Example, output: Output) -> Score:
        """The share that is supported."""
        if self._grounded is not None:
            return await self._grounded.measured(example, output)
        passages = self.passages(example, output)
        if not passages:
            return self.missing("nothing was looked up for the answer, and the example has no passages")
        if not output.text.strip():
            return self.missing("the answer is empty")
        found = await self.ruled(Material(input="\n\n".join(passages[:_JUDGED]), answer=output.text))
        return self.judged([found], found[0])


class AnswerRelevance(_Triad):
    """Whether the answer speaks to the question, 0 to 1, right or wrong; one that evades it does not."""

    __slots__ = ()
    judge = "answers"

    async def measured(self, example: Example, output: Output) -> Score:
        """By a judge, or the cosine of question and answer; 0 where it says that it does not know."""
        question = self.question_of(example)
        if not question.strip():
            return self.missing("the example has no question")
        text, cut = clipped(output.text)
        if not text.strip():
            return self.figure(0.0, least=self.args.least, why="the answer is empty")
        if self.args.judged_by is not None:
            found = await self.ruled(Material(input=question, answer=text))
            return self.judged([found], found[0])
        if _EVASIVE.search(text) and len(content_words(text)) < 40:
            return self.figure(0.0, least=self.args.least, why="the answer says that it does not know", evasive=True)
        [near] = await self.near(question, [text])
        return self.figure(near, least=self.args.least, **cut)
