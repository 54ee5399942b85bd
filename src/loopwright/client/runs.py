"""What the thin client asks of experiments and runs. Stands on the standard library alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from loopwright.kit.rest import Rest
from loopwright.runs.code import code_of
from loopwright.runs.logger import ActiveRun


class RunsRest(Rest):
    """Experiments and runs of a running Loopwright."""

    def run(
        self,
        experiment: str,
        *,
        name: str = "",
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        prompts: Iterable[str] = (),
        data: Iterable[Mapping[str, Any]] = (),
        code: str | Path | None = ".",
        kind: str = "run",
        parent_id: str | None = None,
    ) -> ActiveRun:
        """Begin a run; leave it as a context manager to end it.

        Args:
            experiment: what it belongs to; made when it is not there.
            name: for people; by default one is made.
            params: JSON by name.
            tags: texts by name.
            prompts: versions it uses: `name@number`.
            data: versions of datasets: `dataset`, `number`, `sha`, `split`.
            code: folder whose git commit is noted; None notes none.
            kind: `run`, `training`, or a word of yours.
            parent_id: the run it is a part of.
        """
        return ActiveRun(
            self,
            self.start_run(
                experiment,
                name=name,
                kind=kind,
                params=dict(params or {}),
                tags=dict(tags or {}),
                prompts=[*prompts],
                data=[dict(each) for each in data],
                code={} if code is None else code_of(code),
                parent_id=parent_id,
            ),
        )

    def experiments(self, project: str | None = None) -> list[dict[str, Any]]:
        """Experiments, those in which something happened last first."""
        return self._list("/api/experiments", "experiments", {"project": project})

    def create_experiment(self, name: str, *, description: str = "", **tags: str) -> dict[str, Any]:
        """The experiment of a name; made when it is not there."""
        body = {"name": name, "description": description, "tags": tags}
        return self._object("POST", "/api/experiments", body=body)

    def delete_experiment(self, experiment: str) -> int:
        """Forget an experiment and its runs; how many runs."""
        return int(self._object("DELETE", f"/api/experiments/{_quoted(experiment)}")["deleted"])

    def runs(self, **where: str | float | None) -> dict[str, Any]:
        """One page, newest first: `{"runs": […], "next": id or None}`.

        `where` takes `experiment`, `status`, `kind`, `tag` (`name:value`), `project`, `before` (an id) and `limit`.
        """
        return self._object("GET", "/api/runs", query=where)

    def each_run(self, **where: str | float | None) -> Iterator[dict[str, Any]]:
        """Every run that `where` selects, newest first."""
        before: str | None = None
        while True:
            found = self.runs(**{**where, "before": before, "limit": 200})
            yield from found["runs"]
            before = found["next"]
            if before is None:
                return

    def start_run(self, experiment: str, **told: Any) -> dict[str, Any]:
        """Begin a run without a context manager."""
        return self._object("POST", "/api/runs", body={"experiment": experiment, **told})

    def get_run(self, run_id: str) -> dict[str, Any]:
        """One run with its notes and artifacts."""
        return self._object("GET", f"/api/runs/{_quoted(run_id)}")

    def change_run(self, run_id: str, /, **change: Any) -> dict[str, Any]:
        """Give a run another `name`, or end it: `status`, `ended_at`, `error`."""
        return self._object("PATCH", f"/api/runs/{_quoted(run_id)}", body=change)

    def delete_run(self, run_id: str) -> None:
        """Forget a run."""
        self._object("DELETE", f"/api/runs/{_quoted(run_id)}")

    def log_run(self, run_id: str, /, **said: Any) -> dict[str, Any]:
        """Say more of a run: `params`, `metrics` (points), `tags`, `prompts`, `data`."""
        return self._object("POST", f"/api/runs/{_quoted(run_id)}/log", body=said)

    def curves(self, run_id: str, *, points: int = 500) -> dict[str, list[dict[str, Any]]]:
        """The points of each metric by step, evenly thinned to at most `points`."""
        found = self._object("GET", f"/api/runs/{_quoted(run_id)}/metrics", query={"points": points})
        return dict(found["metrics"])

    def note_run(self, run_id: str, text: str) -> dict[str, Any]:
        """Note something of a run."""
        return self._object("POST", f"/api/runs/{_quoted(run_id)}/notes", body={"text": text})

    def compare_runs(self, a: str, b: str, *, changed: bool = False, limit: int = 200) -> dict[str, Any]:
        """Two runs side by side down to the example, those that became worse from `a` to `b` first."""
        query: dict[str, str | float | None] = {"changed": "true" if changed else None, "limit": limit}
        return self._object("GET", f"/api/runs/{_quoted(a)}/compare/{_quoted(b)}", query=query)

    def put_artifact(
        self, run_id: str, path: str, content: bytes | Path | Iterator[bytes], *, size: int | None = None
    ) -> dict[str, Any]:
        """Keep a file of a run: bytes, a file that is read as it is sent, or pieces of `size` bytes together."""
        where = f"/api/runs/{_quoted(run_id)}/artifacts/{quote(path)}"
        if not isinstance(content, Path):
            return self._put(where, content, len(content) if isinstance(content, bytes) else size or 0)
        with content.open("rb") as file:
            return self._put(where, _pieces(file), content.stat().st_size)

    def artifact(self, run_id: str, path: str) -> Iterator[bytes]:
        """A file of a run, in pieces."""
        response = self.open("GET", f"/api/runs/{_quoted(run_id)}/artifacts/{quote(path)}")
        while piece := response.read(1 << 20):
            yield piece

    def _put(self, path: str, content: bytes | Iterator[bytes], size: int) -> dict[str, Any]:
        headers = {"content-type": "application/octet-stream", "content-length": str(size)}
        response = self._send("PUT", self._prefix + path, content, headers)
        if response.status >= 400:
            raise self._error(response, path)
        return self._whole(response, path)


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(1 << 18):
        yield piece
