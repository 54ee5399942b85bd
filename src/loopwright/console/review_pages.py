"""The pages of reviews: the list, one review with its agreement, and the page where a rater rates by keyboard, blind."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from loopwright.app import App
from loopwright.calls.query import CallFilter
from loopwright.console.asking import tags_of, whole_of
from loopwright.console.key_ring import by
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.errors import BadRequest, Conflict, LoopwrightError, Refused, Unauthenticated
from loopwright.evals.raters import RELIABLE, TENTATIVE, agreement, check_done, criterion_named, exported
from loopwright.evals.review_items import forget_gone, of_calls
from loopwright.feedback.given import Author
from loopwright.feedback.review import Progress, Review
from loopwright.feedback.rubric import Criterion, Mode, criteria_of

_PAGE: Final = 50
_WIDTH: Final = 560
_LEFT: Final = 150
_ROW: Final = 30
_LOWEST: Final = -0.25
_MOST: Final = 500
"""Calls that the form takes at most; more by the command line."""
_SIDES: Final = ("left", "right", "tie")
_LABEL: Final = "label:"


class ReviewPages:
    """Everybody sees and rates the reviews of their project."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app
        self._turns = shell.app.workshop.turns

    def routes(self) -> list[Route]:
        """The pages, the file, and what raters do."""
        return [
            *self._shell.page("/reviews", "reviews.html", self._list),
            self._shell.action("/reviews", self._create),
            self._shell.route("/reviews/{review_id}/export.jsonl", self._export),
            *self._shell.page("/reviews/{review_id}/rate", "rate.html", self._rate),
            self._shell.action("/reviews/{review_id}/items/{item_id:int}", self._said),
            self._shell.action("/reviews/{review_id}/items/{item_id:int}/skip", self._skip),
            self._shell.action("/reviews/{review_id}/undo", self._undo),
            self._shell.action("/reviews/{review_id}/delete", self._delete),
            *self._shell.page("/reviews/{review_id}", "review.html", self._one),
        ]

    async def _list(self, visit: Visit) -> View:
        reviews = self._turns.reviews
        found = await reviews.list(project_id=visit.project_id, before=visit.asked("before"), limit=_PAGE + 1)
        progress = await reviews.progress(found, rater_id=visit.who.key_id)
        rows = [_row(each, progress[each.id]) for each in found[:_PAGE] if each.id in progress]
        data = {"reviews": rows, "next": found[_PAGE - 1].id if len(found) > _PAGE else None}
        models = sorted(card["name"] for card in self._app.cards())
        return View(data=data, drawn={"typed": {}, "problem": None, "models": models})

    async def _create(self, visit: Visit, form: dict[str, str]) -> Response:
        try:
            criteria = criteria_of([line for line in form.get("criteria", "").splitlines() if line.strip()], "rubric")
            which = CallFilter(
                project_id=visit.who.project_id,
                model=form.get("model") or None,
                session=form.get("session", "").strip() or None,
                tags=tags_of(form.get("tag", "").splitlines()),
                outcome="ok",
            )
            found = await of_calls(self._app.calls, which, limit=whole_of(form, "limit", high=_MOST) or 100)
            review = await self._turns.reviews.create(
                visit.who.project_id,
                form.get("name", ""),
                mode="rubric",
                criteria=criteria,
                items=found.items,
                source={"calls": {name: form[name] for name in ("model", "session", "tag") if form.get(name)}},
                author=Author.of(visit.who),
                instructions=form.get("instructions", ""),
                raters=whole_of(form, "raters", high=9) or 2,
            )
        except (BadRequest, Conflict) as error:
            return await self._again(visit, form, error)
        await forget_gone(self._app.calls, self._app.workshop.feedback, found.items)
        told = {"name": review.name, "items": len(found.items)}
        await self._app.audit.note(by(visit), "review.create", review.id, told, project_id=review.project_id)
        return RedirectResponse(f"/reviews/{review.id}", 303)

    async def _again(self, visit: Visit, form: dict[str, str], error: LoopwrightError) -> Response:
        view = await self._list(visit)
        drawn = {**view.drawn, "typed": form, "problem": error}
        return self._shell.html(visit, "reviews.html", View(data=view.data, drawn=drawn, status=error.status))

    async def _one(self, visit: Visit) -> View:
        review = await self._review(visit)
        progress = await self._progress(visit, review)
        row = _row(review, progress)
        try:
            check_done(progress, visit.who)
        except Refused as error:
            return View(data={"review": row, "agreement": None, "why": error.message}, drawn={"plot": None})
        ratings = [each async for each in self._turns.reviews.ratings(review)]
        found = [each.shown() for each in agreement(review, ratings)]
        return View(data={"review": row, "agreement": found, "why": None}, drawn={"plot": plot_of(found)})

    async def _rate(self, visit: Visit) -> View:
        review = await self._review(visit)
        turn = await self._turns.next(review, visit.who)
        progress = await self._progress(visit, review)
        # Of the review only what is asked: where its items came from might tell whose answer it is.
        asked = {
            "id": review.id,
            "name": review.name,
            "mode": review.mode,
            "instructions": review.instructions,
            "criteria": [_asked(each, review.mode) for each in review.criteria],
            "raters": review.raters,
        }
        data = {"review": asked, "turn": None if turn is None else turn.shown(), "progress": progress.shown()}
        return View(data=data, drawn={"left": progress.items - progress.mine - progress.skipped})

    async def _said(self, visit: Visit, form: dict[str, str]) -> Response:
        review = await self._review(visit)
        labels = {name.removeprefix(_LABEL): said for name, said in form.items() if name.startswith(_LABEL)}
        await self._turns.rate(
            review, visit.request.path_params["item_id"], visit.who, labels, form.get("note", "").strip()
        )
        return _on(review)

    async def _skip(self, visit: Visit, _form: dict[str, str]) -> Response:
        review = await self._review(visit)
        await self._turns.skip(review, visit.request.path_params["item_id"], visit.who)
        return _on(review)

    async def _undo(self, visit: Visit, _form: dict[str, str]) -> Response:
        review = await self._review(visit)
        await self._turns.undo(review, visit.who)
        return _on(review)

    async def _delete(self, visit: Visit, _form: dict[str, str]) -> Response:
        review = await self._review(visit)
        await self._app.audit.note(
            by(visit), "review.delete", review.id, {"name": review.name}, project_id=review.project_id
        )
        await self._turns.reviews.delete(review)
        return RedirectResponse("/reviews", 303)

    async def _export(self, request: Request) -> Response:
        """What was said, as a judge's calibration file."""
        visit = self._shell.visit(request)
        if visit is None:
            raise Unauthenticated("sign in at /sign-in")
        review = await self._review(visit)
        check_done(await self._progress(visit, review), visit.who)
        if visit.asked("criterion") is not None:
            criterion_named(review, visit.asked("criterion") or "")
        headers = {"content-disposition": f'attachment; filename="{review.id}.jsonl"'}
        lines = exported(self._turns.reviews, review, criterion=visit.asked("criterion"), texts=True)
        return StreamingResponse(lines, media_type="application/jsonl", headers=headers)

    async def _review(self, visit: Visit) -> Review:
        return await self._turns.reviews.show(visit.request.path_params["review_id"], project_id=visit.project_id)

    async def _progress(self, visit: Visit, review: Review) -> Progress:
        return await self._turns.reviews.progress_of(review, rater_id=visit.who.key_id)


def plot_of(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Where each criterion's alpha and interval lie, in SVG units: one row a criterion, from -0.25 to 1."""

    def x(value: float) -> float:
        share = (max(min(value, 1.0), _LOWEST) - _LOWEST) / (1.0 - _LOWEST)
        return round(_LEFT + share * (_WIDTH - _LEFT - 16), 1)

    rows = [
        {
            "name": each["criterion"],
            "y": _ROW * at + 20,
            "x": None if each["alpha"] is None else x(each["alpha"]),
            "low": None if each["alpha"] is None else x(each["low"]),
            "high": None if each["alpha"] is None else x(each["high"]),
        }
        for at, each in enumerate(found)
    ]
    base = _ROW * len(found) + 8
    return {
        "width": _WIDTH,
        "height": base + 22,
        "base": base,
        "left": _LEFT,
        "rows": rows,
        "ticks": [{"at": x(value), "text": f"{value:g}"} for value in (0.0, 0.25, 0.5, 0.75, 1.0)],
        "rules": [{"at": x(TENTATIVE), "look": "soft"}, {"at": x(RELIABLE), "look": "main"}],
    }


def _asked(criterion: Criterion, mode: Mode) -> dict[str, Any]:
    """A criterion with its answers as a rater gives them: sides, in pairs."""
    said = criterion.shown()
    return {**said, "answers": list(_SIDES)} if mode == "pairwise" else said


def _row(review: Review, progress: Progress) -> dict[str, Any]:
    return {**review.shown(), "progress": progress.shown()}


def _on(review: Review) -> Response:
    return RedirectResponse(f"/reviews/{review.id}/rate", 303)
