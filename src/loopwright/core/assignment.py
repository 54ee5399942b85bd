"""What a call of a task has become: which variant does it, what that will need, and what was asked for it so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from loopwright.core.adapter import TAG, Adapter
from loopwright.core.money import Usage, usd

_ANSWER: Final = 20_000
"""Characters of an inner answer that are kept on record."""
_SOURCE: Final = 300
_TAG: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one of its requests is taken to need before it is made, rather too much than too little."""

    model: str
    input: int
    """Tokens."""
    output: int
    """Tokens."""


@dataclass(slots=True, kw_only=True)
class Made:
    """One request that was made for it. What became of its answer is written in when it is known."""

    name: str
    """Of the step, or `sample 2`."""
    model: str
    """The name that was asked for."""
    prompt: str | None = None
    adapter: str = ""
    """That it was asked to answer with, as on record."""
    messages: Sequence[Mapping[str, Any]] = ()
    """What was asked; empty when it was what the one before it was asked."""
    target: str = ""
    """Who answered, by the name its provider knows."""
    provider: str = ""
    answer: str = ""
    usage: Usage = field(default_factory=Usage)
    cost_nano: int | None = 0
    """Nanodollars; None is unpriced."""
    price_source: str | None = None
    began_us: int | None = None
    """Unix time; None where it never did."""
    latency_us: int = 0
    said: str = ""
    """What was found of the answer: `vote 42`, `score 0.8`."""
    chosen: bool = False
    """Its answer is the answer of the call."""
    error: str = ""
    """Why there is no answer."""

    def shown(self) -> dict[str, Any]:
        """As it is kept: JSON."""
        out: dict[str, Any] = {
            "name": self.name,
            "model": self.model,
            "provider": self.provider,
            "target": self.target,
            "input_tokens": self.usage.input,
            "output_tokens": self.usage.output,
            "cost_usd": None if self.cost_nano is None else usd(self.cost_nano),
            "latency_us": self.latency_us,
            "chosen": self.chosen,
            "answer": self.answer[:_ANSWER],
        }
        more = {
            "at_us": self.began_us,
            "prompt": self.prompt,
            "adapter": self.adapter,
            "messages": [*self.messages],
            "said": self.said,
            "error": self.error,
        }
        return out | {name: value for name, value in more.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What all requests of a call took together."""

    usage: Usage
    cost_nano: int | None
    """Nanodollars, each request at its own price; None when one of them is unpriced."""
    source: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A call of a task, assigned to one of its variants."""

    task: str
    variant: str
    prompt_version: str | None
    """`name@number`; of several prompts joined by `+`."""
    inputs: Mapping[str, Any]
    adapters: tuple[Adapter, ...] = ()
    """That its models answer with, each once."""
    needs: tuple[Need, ...]
    """Of every request that will be made; the first says whose price a single one has."""
    messages: Sequence[Mapping[str, Any]] = ()
    """What the one request asks; empty where there are several."""
    several: bool = False
    """Several requests make the answer: `made` says what they took."""
    made: list[Made] = field(default_factory=list, compare=False)
    beside: dict[str, Any] = field(default_factory=dict, compare=False)
    """What was looked up for it, as JSON: `retrieval`, `memory`. Whoever makes another of this hands on the very same."""

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that is asked, each once."""
        return tuple(dict.fromkeys(need.model for need in self.needs))

    @property
    def tags(self) -> Mapping[str, str]:
        """What of it is found by tags: adapters."""
        return {TAG: ", ".join(each.spoken for each in self.adapters)[:_TAG]} if self.adapters else {}

    def bill(self) -> Bill:
        """What was taken so far."""
        costs = [made.cost_nano for made in self.made]
        known = [cost for cost in costs if cost is not None]
        sources = dict.fromkeys(made.price_source for made in self.made if made.price_source)
        return Bill(
            usage=Usage(
                input=sum(made.usage.input for made in self.made),
                output=sum(made.usage.output for made in self.made),
                cached=sum(made.usage.cached for made in self.made),
                cache_written=sum(made.usage.cache_written for made in self.made),
                reasoning=sum(made.usage.reasoning for made in self.made),
                estimated=any(made.usage.estimated for made in self.made),
            ),
            cost_nano=sum(known) if len(known) == len(costs) else None,
            source="; ".join(sources)[:_SOURCE] or None,
        )

    def shown(self) -> dict[str, Any]:
        """As it is kept beside the body of the request: JSON."""
        out: dict[str, Any] = {"task": self.task, "variant": self.variant, "variables": dict(self.inputs)}
        if self.adapters:
            out["adapters"] = [each.shown() for each in self.adapters]
        if self.messages:
            out["messages"] = [*self.messages]
        if self.made:
            out["steps"] = [made.shown() for made in self.made]
        return out | self.beside
