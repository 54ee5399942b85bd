"""The pages of judges: how far each is to be trusted and why, and one with all that its cards measured."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from starlette.routing import Route

from loopwright.access.projects import Project
from loopwright.app import App
from loopwright.console.asking import whole_of
from loopwright.console.prompt_pages import project_of, scope_of
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.errors import BadRequest
from loopwright.core.money import usd
from loopwright.evals.cards import Named
from loopwright.evals.judge_card import FEWEST, KAPPA, MISSING
from loopwright.evals.judge_definition import definition_of
from loopwright.evals.standing import Standing, newest, standing

_PAGE: Final = 10
_RATES: Final = 3
"""Labels whose share of people's verdicts is told in the list."""
_SCALES: Final[Mapping[str, tuple[float, float]]] = {"share": (0.0, 1.0), "number": (0.0, 1.0), "shift": (-0.5, 0.5)}
"""Where an interval is drawn, unless it reaches further."""
_GROUPS: Final = (
    ("Agreement with people", (
        ("kappa", "Cohen's kappa", "number"),
        ("kappa_weighted", "weighted kappa (quadratic)", "number"),
        ("alpha", "Krippendorff's alpha", "number"),
        ("alpha_people", "alpha of people alone", "number"),
        ("alpha_all", "alpha of people and judge", "number"),
    )),
    ("How often it is right", (
        ("accuracy", "right", "share"),
        ("constant_accuracy", "the constant judge", "share"),
        ("gain", "more than the constant judge", "shift"),
        ("sensitivity", "sensitivity", "share"),
        ("specificity", "specificity", "share"),
    )),
    ("How steady it is", (
        ("missing", "verdicts missing", "share"),
        ("consistency", "says the same again", "share"),
    )),
    ("What moves it beside the answer", (
        ("flips", "order decides", "share"),
        ("first_shown", "drawn to the first shown", "shift"),
        ("verbosity", "drawn to length", "shift"),
        ("self_preference", "drawn to its own model", "shift"),
    )),
)  # fmt: skip


class JudgePages:
    """Everybody sees the judges of their project; administrators those of any."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The list, and one judge."""
        return [
            *self._shell.page("/judges", "judges.html", self._list),
            *self._shell.page("/judges/{judge}", "judge.html", self._one),
        ]

    async def _list(self, visit: Visit) -> View:
        project, bar = await project_of(self._app, visit), _bar(visit.asked("bar"))
        cards = self._app.workshop.cards
        judges = await cards.judges(project.id)
        found = newest(judges, await cards.versions(project.id), leads_to=self._app.leads_to, bar=bar)
        rows = [
            {**_judge(judge), "cards": [_card(each) for each in found[judge.name]]}
            for judge in judges
        ]  # fmt: skip
        drawn = {
            **await self._frame(visit, project, bar),
            "drawn": {card["id"]: _figures(card, bar) for row in rows for card in row["cards"]},
            "rates": _rates,
        }
        return View(data={"project": project.name, "bar": bar, "judges": rows}, drawn=drawn)

    async def _one(self, visit: Visit) -> View:
        project, bar = await project_of(self._app, visit), _bar(visit.asked("bar"))
        cards = self._app.workshop.cards
        judge = await cards.judge(project.id, visit.request.path_params["judge"])
        before = whole_of(visit.request.query_params, "before", high=2**62)
        kept = await cards.page(project.id, judge.name, before=before, limit=_PAGE + 1)
        shown = [standing(judge, each, leads_to=self._app.leads_to, bar=bar) for each in kept[:_PAGE]]
        speaking = newest([judge], await cards.versions(project.id, judge.name), leads_to=self._app.leads_to, bar=bar)
        told = [_card(each) for each in shown]
        own = judge.args.get("model")
        data = {
            "project": project.name,
            "bar": bar,
            "judge": {**_judge(judge), "sha": judge.definition().sha if own else None},
            "speaking": [each.kept.id for each in speaking[judge.name]],
            "cards": told,
            "next": kept[_PAGE - 1].id if len(kept) > _PAGE else None,
        }
        drawn = {
            **await self._frame(visit, project, bar),
            "drawn": {card["id"]: _figures(card, bar) for card in told},
            "groups": _GROUPS,
            "raw": msgspec.json.format(msgspec.json.encode(judge.args)).decode(),
            "command": _command(judge),
            "columns": _columns,
            "before": before,
        }
        return View(data=data, drawn=drawn)

    async def _frame(self, visit: Visit, project: Project, bar: float) -> dict[str, Any]:
        """What both pages need: how to come to the other, and what trust asks for."""
        projects = [each.name for each in await self._app.projects.list()] if visit.who.admin else []
        scope = scope_of(visit, project)
        if bar != KAPPA:
            scope += f"{'&' if scope else '?'}bar={bar:g}"
        return {"scope": scope, "projects": projects, "fewest": FEWEST, "most_missing": MISSING, "usual": KAPPA}


def _judge(judge: Named) -> dict[str, Any]:
    """A judge with all that it leaves unsaid."""
    whole = definition_of({"model": "-", **judge.args}, known={})
    return {
        **judge.shown(),
        "created_at": judge.created_at,
        "form": whole.form,
        "model": judge.args.get("model"),
        "question": whole.question,
        "labels": [
            {"label": label, "value": whole.labels.get(label), "meaning": whole.meanings.get(label),
             "passes": None if whole.form == "pairwise" else whole.passed(label)}
            for label in whole.verdicts
        ],
        "explain": whole.explain,
        "constrained": whole.constrained,
        "parameters": dict(whole.parameters),
    }  # fmt: skip


def _card(found: Standing) -> dict[str, Any]:
    """A card with what it is worth now, for pages and their twins."""
    cost = found.kept.card.cost_nano
    return {
        **found.whole(),
        "created_at": found.kept.created_at,
        "leads_to": found.kept.behind or None,
        "cost_usd": None if cost is None else usd(cost),
    }


def _figures(told: Mapping[str, Any], bar: float) -> dict[str, dict[str, Any]]:
    """By name each figure as it is drawn: its interval, the scale it lies on, and what it is held against."""
    card = told["card"]
    constant = card["figures"].get("constant_accuracy")
    marks = {"kappa": bar, "missing": MISSING, "accuracy": None if constant is None else constant["estimate"]}
    found = {}
    for _, figures in _GROUPS:
        for name, title, kind in figures:
            one = card["figures"].get(name)
            if one is None:
                found[name] = {"title": title, "mean": None, "why": card["absent"].get(name, "not measured")}
                continue
            low, high = _SCALES[kind]
            mark = marks.get(name, 0.0 if kind == "shift" else None)
            ends = (
                min(low, _round(one["low"]), low if mark is None else mark),
                max(high, _round(one["high"], up=True)),
            )
            found[name] = {
                "title": title,
                "mean": one["estimate"], "low": one["low"], "high": one["high"], "n": one["n"], "p": one["p"],
                "ends": ends, "mark": mark, "says": _SAYS[kind],
            }  # fmt: skip
    return found


def _round(value: float, *, up: bool = False) -> float:
    """To the next half outward, so that scales of neighbours are alike."""
    return (math.ceil(value * 2) if up else math.floor(value * 2)) / 2


def _share(value: float) -> str:
    return f"{value:.1%}"


def _shift(value: float) -> str:
    return f"{value:+.1%}" if abs(value) >= 0.0005 else "0.0%"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) >= 0.0005 else "0.000"


_SAYS: Final = {"share": _share, "shift": _shift, "number": _number}


def _rates(card: Mapping[str, Any]) -> Sequence[tuple[str, float]]:
    """The most frequent labels of people."""
    return sorted(card["base_rates"].items(), key=lambda each: (-each[1], each[0]))[:_RATES]


def _columns(card: Mapping[str, Any]) -> list[str]:
    """Every verdict that the judge gave, what is missing last."""
    said = {label for row in card["confusion"].values() for label in row}
    return sorted(said, key=lambda label: (label == "(missing)", label))


def _command(judge: Named) -> str:
    """How a card is made from a shell."""
    name = "-- " + shlex.quote(judge.name) if judge.name.startswith("-") else shlex.quote(judge.name)
    model = "" if judge.args.get("model") else " --model MODEL"
    return f"loopwright judges calibrate --labels labels.jsonl{model} {name}"


def _bar(text: str | None) -> float:
    """The kappa that is asked for.

    Raises:
        BadRequest: it is no number from -1 to 1.
    """
    try:
        bar = KAPPA if text is None else float(text[:30])
    except ValueError:
        bar = math.nan
    if not -1 <= bar <= 1:
        raise BadRequest("bar is a kappa, from -1 to 1", param="bar")
    return bar
