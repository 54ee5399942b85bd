"""The logger: points are gathered, an outage does not end a training, and every end is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loopwright.core.errors import Unavailable
from loopwright.runs.code import code_of
from loopwright.runs.logger import ActiveRun


class Server:
    """Takes what a run tells, unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.points: list[dict[str, Any]] = []
        self.requests = 0
        self.ended: dict[str, Any] = {}

    def log_run(self, _run_id: str, /, **said: Any) -> dict[str, Any]:
        self.requests += 1
        if self.away:
            raise Unavailable("nobody answers")
        self.points += said.get("metrics", [])
        return {}

    def change_run(self, _run_id: str, /, **change: Any) -> dict[str, Any]:
        self.ended = change
        return {}

    def note_run(self, _run_id: str, _text: str, /) -> dict[str, Any]:
        return {}

    def put_artifact(self, _run_id: str, _path: str, _content: bytes | Path, /) -> dict[str, Any]:
        return {}


def begun(server: Server, now: list[float]) -> ActiveRun:
    return ActiveRun(server, {"id": "run_1", "name": "n", "experiment": "e"}, clock=lambda: now[0])


def test_points_are_sent_together_and_number_themselves() -> None:
    server, now = Server(), [0.0]
    with begun(server, now) as run:
        for value in range(999):
            run.log_metric("a", value)
        assert server.requests == 0
        run.log_metric("a", float("inf"))
        assert len(server.points) == 1_000
        run.log_metric("b", 1.0, step=7)
        now[0] = 5.0
        run.log_metric("b", 2.0)
    assert [point["step"] for point in server.points if point["name"] == "a"] == [*range(1_000)]
    assert server.points[999]["value"] is None
    assert [point["step"] for point in server.points if point["name"] == "b"] == [7, 8]
    assert server.requests == 2
    assert server.ended["status"] == "finished"


def test_an_outage_is_waited_out() -> None:
    server, now = Server(), [0.0]
    with begun(server, now) as run:
        server.away = True
        now[0] += 3.0
        with pytest.warns(RuntimeWarning, match="wait to be sent"):
            run.log_metric("a", 0)
        for at in range(1, 10):  # it says so once
            now[0] += 3.0
            run.log_metric("a", at)
        with pytest.raises(Unavailable):
            run.flush()
        server.away = False
    assert [point["value"] for point in server.points] == [*map(float, range(10))]


def test_how_a_run_ends_is_told() -> None:
    server = Server()

    def stopped() -> None:
        with begun(server, [0.0]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert server.ended["status"] == "killed"


def test_the_version_of_the_code(tmp_path: Path) -> None:
    assert "commit" not in code_of(tmp_path)
    here = code_of(Path(__file__).parent)
    assert "commit" not in here or len(here["commit"]) == 40
