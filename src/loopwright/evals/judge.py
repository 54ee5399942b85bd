"""Judges: models that say how good an answer is, or which of two is better. How far to trust them says their card."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from loopwright.core.chat import Chat, Delta, answering
from loopwright.core.errors import BadRequest, InvalidOutput, NotFound
from loopwright.core.score import Score
from loopwright.core.who import HOUSE, Principal
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Judged, Method, Output, Tools
from loopwright.evals.judge_definition import FLIP, TIE, Definition, definition_of
from loopwright.evals.judge_prompt import Material, body_of, text_of
from loopwright.evals.judge_verdict import Verdict, read
from loopwright.evals.plain import references
from loopwright.kit import wire, wire_read
from loopwright.kit.ids import Ids

Preference = Literal["a", "b", "tie"]
_WINS: Mapping[str, float] = {"a": 1.0, "b": 0.0, TIE: 0.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a judge answered to one question, and what that took."""

    text: str
    call_id: str = ""
    model: str = ""
    """Which model answered."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int | None = 0
    """Nanodollars; None is unpriced."""


Ask = Callable[[Mapping[str, Any]], Awaitable[Said]]
"""Puts a body in OpenAI's form to whoever answers. Raises a LoopwrightError when nobody does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """One verdict, or that there is none, and what it took."""

    verdict: Verdict
    said: Said


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRuling:
    """Both orders of one pair, each as which of the pair it prefers."""

    orders: tuple[Preference | None, Preference | None]
    rulings: tuple[Ruling, Ruling]
    ties: bool

    @property
    def label(self) -> str | None:
        """`a`, `b` or `tie`; `flip` when the orders contradict each other and no tie may be said; None is missing."""
        first, second = self.orders
        if first is None or second is None:
            return None
        if first == second:
            return first
        return TIE if self.ties else FLIP

    @property
    def flipped(self) -> bool:
        """Whether the order decided."""
        return None not in self.orders and self.orders[0] != self.orders[1]

    @property
    def missing(self) -> str | None:
        """Why there is none."""
        return next((each.verdict.missing for each in self.rulings if each.verdict.missing), None)


async def rule(definition: Definition, material: Material, ask: Ask) -> Ruling:
    """One verdict. An answer that does not fit the schema after all attempts is a missing verdict, not a failure.

    Raises:
        LoopwrightError: the model could not be asked.
    """
    try:
        said = await ask(body_of(definition, material))
    except InvalidOutput as error:
        # Not what it says: that may quote what was judged, and reasons are kept beside labels
        why = Verdict(label=None, missing="the judge's answer does not fit its schema")
        return Ruling(verdict=why, said=Said(text="", model=error.model, cost_nano=None))
    return Ruling(verdict=read(said.text, definition.verdicts), said=said)


async def rule_pair(definition: Definition, material: Material, ask: Ask) -> PairRuling:
    """Which of two is better, asked in both orders: one order alone would tell the place from the answer.

    Raises:
        LoopwrightError: the model could not be asked.
    """
    first = await rule(definition, material, ask)
    second = await rule(definition, material.swapped, ask)
    shown: Mapping[str, Preference] = {"A": "a", "B": "b", TIE: "tie"}
    turned: Mapping[str, Preference] = {"A": "b", "B": "a", TIE: "tie"}
    orders = (shown.get(first.verdict.label or ""), turned.get(second.verdict.label or ""))
    return PairRuling(orders=orders, rulings=(first, second), ties=definition.ties)


class ChatAsk:
    """Asks a Chat of the house in a principal's name."""

    __slots__ = ("_chat", "_ids", "_who")

    def __init__(self, chat: Chat, who: Principal = HOUSE) -> None:
        self._chat = chat
        self._who = who
        self._ids = Ids()

    async def __call__(self, body: Mapping[str, Any]) -> Said:
        """What is answered. Raises what the Chat raises."""
        request = wire.parse(
            msgspec.json.encode(body),
            "chat",
            call_id=self._ids.new(),
            who=self._who,
            started_ns=time.time_ns(),
            client="loopwright judge",
        )
        async with answering(self._chat, request) as answer:
            pieces = [delta async for delta in answer]
        return _said(pieces, request.id)


def _said(pieces: Sequence[Delta], call_id: str) -> Said:
    raw = b"".join(each.raw for each in pieces)
    text = text_in(raw) if raw else "".join(each.text for each in pieces)
    usage = next((each.usage for each in reversed(pieces) if each.usage is not None), None)
    return Said(
        text=text,
        call_id=call_id,
        model=next((each.model for each in pieces if each.model), ""),
        input_tokens=0 if usage is None else usage.input,
        output_tokens=0 if usage is None else usage.output,
        cost_nano=pieces[-1].cost_nano if pieces else None,
    )


def text_in(raw: bytes) -> str:
    """What the first choice of a whole answer says.

    Raises:
        UpstreamBroke: it is no JSON object.
    """
    choice = wire_read.choice_of(wire_read.whole(raw)) or {}
    message = choice.get("message")
    return wire_read.text(message.get("content")) if isinstance(message, dict) else ""


class Judge:
    """A model's verdict on an answer: by a rubric, against the reference, or whether it beats the reference."""

    __slots__ = ("_ask", "_given", "_kind", "definition", "name")

    Args = Definition
    method: Method = "judge"
    higher_is_better = True

    def __init__(self, *, kind: str = "judge", name: str = "judge", args: Mapping[str, Any], tools: Tools) -> None:
        """Raises BadRequest when the arguments are wrong."""
        try:
            self.definition = definition_of(args)
        except NotFound as error:
            raise BadRequest(error.message, param=error.param) from None
        self.name = name
        self._kind = kind
        self._given = dict(args)
        self._ask = None if tools.chat is None else ChatAsk(tools.chat, tools.who)

    @property
    def spec(self) -> Mapping[str, Any]:
        """What it can be made from again."""
        return {"kind": self._kind, "name": self.name, "args": self._given}

    @property
    def sha(self) -> str:
        """Its version, which a card must be of."""
        return self.definition.sha

    async def __call__(self, example: Example, output: Output, /) -> Score:
        """The verdict as a score; a pair is the answer against the reference: 1 it is better, 0 worse, 0.5 neither."""
        if output.error is not None:
            return self._missing(f"there is no answer: {output.error}"[:500])
        known = references(example)
        if self.definition.form != "rubric" and not known:
            return self._missing("the example has no expected value")
        material = Material(input=text_of(example.inputs), answer=_text(output), reference="\n".join(known))
        if self.definition.form == "pairwise":
            return self._of_pair(
                await rule_pair(self.definition, replace(material, other=known[0], reference=""), self._asking())
            )
        ruling = await rule(self.definition, material, self._asking())
        label, cost = ruling.verdict.label, ruling.said.cost_nano
        if label is None:
            return replace(self._missing(ruling.verdict.missing or ""), cost_nano=cost)
        return Score(
            name=self.name,
            value=self.definition.labels[label],
            label=label,
            passed=self.definition.passed(label),
            explanation=ruling.verdict.explanation,
            details=self._details(ruling.said),
            cost_nano=cost,
        )

    async def compare(self, example: Example, a: Output, b: Output, /) -> Judged:
        """Which of two answers is better; see `PairJudge`."""
        if self.definition.form != "pairwise":
            raise BadRequest(f"{self.name}: a judge of form {self.definition.form} compares no pairs", param="form")
        if a.error is not None or b.error is not None:
            return Judged(preference=None, missing=f"there is no answer: {a.error or b.error}"[:500])
        material = Material(input=text_of(example.inputs), answer=_text(a), other=_text(b))
        ruling = await rule_pair(self.definition, material, self._asking())
        decided = None if None in ruling.orders else ruling.orders[0] if not ruling.flipped else "tie"
        return Judged(
            preference=decided,
            missing=ruling.missing,
            explanation=_explained(ruling),
            details={"orders": list(ruling.orders), "flipped": ruling.flipped, **self._details(ruling.rulings[0].said)},
            cost_nano=cost_of(each.said for each in ruling.rulings),
        )

    def _of_pair(self, ruling: PairRuling) -> Score:
        cost = cost_of(each.said for each in ruling.rulings)
        if ruling.label is None:
            return replace(self._missing(ruling.missing or ""), cost_nano=cost)
        return Score(
            name=self.name,
            value=0.5 if ruling.flipped else _WINS[ruling.label],
            label=ruling.label,
            explanation=_explained(ruling),
            details={"orders": list(ruling.orders), "flipped": ruling.flipped, **self._details(ruling.rulings[0].said)},
            cost_nano=cost,
        )

    def _asking(self) -> ChatAsk:
        if self._ask is None:
            raise BadRequest(f"{self.name}: a judge needs a model to ask, and there is no road here", param="kind")
        return self._ask

    def _details(self, said: Said) -> dict[str, Any]:
        return {"judge": self.sha[:12], "call_id": said.call_id, "model": said.model}

    def _missing(self, why: str) -> Score:
        return Score(name=self.name, value=None, missing=why, details={"judge": self.sha[:12]})


def cost_of(all_said: Any) -> int | None:
    """Nanodollars together; None when one is unpriced."""
    costs = [each.cost_nano for each in all_said]
    return None if None in costs else sum(costs)


def _explained(ruling: PairRuling) -> str:
    return "\n".join(each.verdict.explanation for each in ruling.rulings if each.verdict.explanation)


def _text(output: Output) -> str:
    if output.text or not output.tool_calls:
        return output.text
    return msgspec.json.encode(list(output.tool_calls)).decode()
