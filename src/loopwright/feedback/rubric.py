"""What raters are asked of each item: criteria, each with a scale of two to nine answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from loopwright.core.errors import BadRequest

Mode = Literal["rubric", "pairwise"]
Level = Literal["nominal", "ordinal", "interval"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
SIDES: Final = ("a", "b", "tie")
"""The answers of a comparison: the first is better, the second, neither."""
PREFERENCE: Final = "preference"
_NAME: Final = re.compile(r"[^\W_][\w.-]{0,39}")
_ANSWERS: Final = (2, 9)
_MOST: Final = 9
_TEXT: Final = 1_000
_WORD: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One question to a rater."""

    name: str
    about: str = ""
    """What is asked, for people."""
    answers: tuple[str, ...]
    """By the keys 1, 2 and so on; from worst to best where they are ordered."""
    level: Level = "nominal"
    """Whether the answers have an order (`ordinal`), equal steps too (`interval`), or neither: so agreement is counted."""

    def shown(self) -> dict[str, Any]:
        """As it is kept and shown."""
        return {"name": self.name, "about": self.about, "answers": list(self.answers), "level": self.level}

    def value(self, label: str) -> float:
        """A label as a number: itself where every answer is a number, else its place from 0."""
        numbers = [_number(answer) for answer in self.answers]
        place = self.answers.index(label)
        number = numbers[place]
        return float(place) if number is None or None in numbers else number


def criterion_of(said: Mapping[str, Any] | str, mode: Mode) -> Criterion:
    """A criterion as it was written: `helpful:1-5`, `grounded:yes,no`, `tone:bad<fine<good`, or its members.

    Raises:
        BadRequest: it is none.
    """
    if isinstance(said, str):
        said = _written(said)
    name, about, level = str(said.get("name", "")), str(said.get("about") or ""), said.get("level")
    if not _NAME.fullmatch(name):
        raise BadRequest(f"criterion {name[:40]!r}: a name is up to 40 letters, digits and . _ -", param="criteria")
    if len(about) > _TEXT or "\x00" in about:
        raise BadRequest(f"criterion {name}: its text has up to {_TEXT:,} characters", param="criteria")
    if mode == "pairwise":
        if said.get("answers"):
            raise BadRequest(
                f"criterion {name}: in pairs the answers are left, right and tie; name none", param="criteria"
            )
        return Criterion(name=name, about=about, answers=SIDES, level="nominal")
    answers = tuple(str(answer).strip() for answer in said.get("answers") or ())
    low, high = _ANSWERS
    if not low <= len(answers) <= high or len(set(answers)) != len(answers):
        raise BadRequest(
            f"criterion {name}: {low} to {high} different answers, one for each key 1 to 9", param="criteria"
        )
    if any(not 0 < len(answer) <= _WORD or not answer.isprintable() for answer in answers):
        raise BadRequest(f"criterion {name}: an answer is 1 to {_WORD} printable characters", param="criteria")
    found = next((each for each in LEVELS if each == (level or "nominal")), None)
    if found is None:
        raise BadRequest(f"criterion {name}: level is one of {', '.join(LEVELS)}", param="criteria")
    return Criterion(name=name, about=about, answers=answers, level=found)


def criteria_of(said: Sequence[Mapping[str, Any] | str], mode: Mode) -> tuple[Criterion, ...]:
    """The criteria of a review; in pairs, without any, the one of preference.

    Raises:
        BadRequest: there is none, too many, or one of a name twice.
    """
    made = tuple(criterion_of(each, mode) for each in said)
    if not made and mode == "pairwise":
        return (Criterion(name=PREFERENCE, about="Which answer is better?", answers=SIDES),)
    if not 0 < len(made) <= _MOST or len({each.name for each in made}) != len(made):
        raise BadRequest(f"criteria: 1 to {_MOST}, each with a name of its own", param="criteria")
    return made


def kept(said: Iterable[Mapping[str, Any]]) -> tuple[Criterion, ...]:
    """Criteria as `shown` wrote them."""
    return tuple(
        Criterion(name=each["name"], about=each["about"], answers=tuple(each["answers"]), level=each["level"])
        for each in said
    )


def checked(labels: Mapping[str, str], criteria: Sequence[Criterion]) -> dict[str, str]:
    """A label for every criterion.

    Raises:
        BadRequest: one is missing, unknown, or none of its answers.
    """
    known = {each.name: each for each in criteria}
    for name in labels:
        if name not in known:
            raise BadRequest(
                f"labels: there is no criterion {name[:40]!r}; there are {', '.join(known)}", param="labels"
            )
    for name, criterion in known.items():
        if name not in labels:
            raise BadRequest(f"labels: {name} is not answered yet", param="labels")
        if labels[name] not in criterion.answers:
            raise BadRequest(
                f"labels: {labels[name][:40]!r} is no answer to {name}; answers are {', '.join(criterion.answers)}",
                param="labels",
            )
    return {name: labels[name] for name in known}


def _written(text: str) -> dict[str, Any]:
    """`name:scale`, and after `=` what is asked: `helpful:1-5=Does it help?`."""
    head, _, about = text.partition("=")
    name, _, scale = head.partition(":")
    said: dict[str, Any] = {"name": name.strip(), "about": about.strip()}
    span = re.fullmatch(r"\s*(\d)\s*-\s*(\d)\s*", scale)
    if span:
        first, last = int(span[1]), int(span[2])
        return {**said, "answers": [str(number) for number in range(first, last + 1)], "level": "ordinal"}
    if "<" in scale:
        return {**said, "answers": scale.split("<"), "level": "ordinal"}
    return {**said, "answers": scale.split(",") if scale.strip() else []}


def _number(answer: str) -> float | None:
    try:
        return float(answer) if re.fullmatch(r"-?\d{1,6}(\.\d{1,3})?", answer) else None
    except ValueError:
        return None
