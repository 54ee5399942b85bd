"""What the thin client asks of scores and corrections on a call, and of reviews. Stands on the standard library alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from loopwright.kit.rest import Rest


class FeedbackRest(Rest):
    """What people and programs say of calls, and the queues where people review."""

    def score(
        self,
        call_id: str,
        name: str,
        *,
        value: float | None = None,
        label: str | None = None,
        passed: bool | None = None,
        **more: str | None,
    ) -> dict[str, Any]:
        """Say something of a call: a number, a word, whether it is good enough, or several of these.

        `more` takes `explanation`, `source` (`person`, `code` or `judge`) and `author`. Who says the same name again
        takes back what they said before. Right after an answer its call is found.
        """
        body = {"name": name, "value": value, "label": label, "passed": passed, **more}
        said = {member: each for member, each in body.items() if each is not None}
        found: dict[str, Any] = self._object("POST", f"/api/calls/{quote(call_id, safe='')}/scores", body=said)["score"]
        return found

    def scores(self, call_id: str) -> list[dict[str, Any]]:
        """What was said of a call, oldest first."""
        return self._list(f"/api/calls/{quote(call_id, safe='')}/scores", "scores")

    def correct(self, call_id: str, output: Any, *, note: str = "", author: str | None = None) -> dict[str, Any]:
        """Say what the answer to a call should have been: a text, or JSON. The latest correction counts.

        Of what comes back `memory` says whether the next request like it is shown that: `{"entry", "embedded", …}`.
        """
        body = {"output": output, "note": note, "author": author}
        path = f"/api/calls/{quote(call_id, safe='')}/correction"
        found = self._object("POST", path, body=body)
        return {**found["correction"], "memory": found.get("memory")}

    def correction(self, call_id: str) -> dict[str, Any]:
        """`{"correction": the one that counts or None, "history": all, the latest first}`."""
        return self._object("GET", f"/api/calls/{quote(call_id, safe='')}/correction")

    def corrections(self, **where: str | float | None) -> dict[str, Any]:
        """One page, newest first: `{"corrections": […], "next": id or None}`.

        `where` takes `project`, `since`, `before` and `limit`.
        """
        return self._object("GET", "/api/corrections", query=where)

    def reviews(self, **where: str | float | None) -> dict[str, Any]:
        """One page, newest first: `{"reviews": […], "next": id or None}`; `where` takes `project`, `before`, `limit`."""
        return self._object("GET", "/api/reviews", query=where)

    def create_review(self, name: str, **said: Any) -> dict[str, Any]:
        """Make a queue that people rate: `{"review": {…}, "left_out": n}`.

        `said` takes `mode` (`rubric` or `pairwise`), `criteria` such as `["helpful:1-5"]`, `instructions`, `raters`,
        `limit`, and one of `calls` (a filter), `dataset` (with `answers`, `split`) and `items`.
        """
        return self._object("POST", "/api/reviews", body={"name": name, **said})

    def review(self, review: str) -> dict[str, Any]:
        """One review, by id or name, with its progress."""
        found: dict[str, Any] = self._object("GET", f"/api/reviews/{quote(review, safe='')}")["review"]
        return found

    def agreement(self, review: str) -> list[dict[str, Any]]:
        """Krippendorff's alpha of each criterion, with its interval."""
        return self._list(f"/api/reviews/{quote(review, safe='')}/agreement", "agreement")

    def export_review(self, review: str, *, criterion: str | None = None, texts: bool = False) -> Iterator[bytes]:
        """What raters said, JSON lines, in pieces; of one `criterion` as a judge is calibrated against it."""
        query = {"criterion": criterion, "texts": "true" if texts else None}
        response = self.open("GET", f"/api/reviews/{quote(review, safe='')}/export", query=query)
        while piece := response.read(1 << 16):
            yield piece
