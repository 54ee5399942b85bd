"""What the thin client asks of datasets. Stands on the standard library alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from loopwright.kit.rest import LINES, Asked, Rest
from loopwright.kit.rest_files import Form, Told

_BROKEN = "See whether it was done, then try again"


class DatasetsRest(Rest):
    """Datasets of a running Loopwright. `project` is for administrators: whose datasets are meant."""

    def datasets(self, *, project: str | None = None) -> list[dict[str, Any]]:
        """Every dataset by name, each with its latest version."""
        return self._every("/api/datasets", "datasets", {"project": project})

    def create_dataset(self, name: str, *, project: str | None = None, **about: Any) -> dict[str, Any]:
        """Make an empty one; `about`: `description`, `shares`, `input_schema`, `output_schema`, `task`."""
        said = {key: value for key, value in about.items() if value is not None}
        return dict(self._asked("POST", "/api/datasets", project, {"name": name, **said})["dataset"])

    def dataset(self, name: str, *, project: str | None = None) -> dict[str, Any]:
        """One dataset: `{"dataset": {…}, "versions": […]}`, newest first."""
        return self._object("GET", _path(name), query={"project": project})

    def dataset_version(self, name: str, version: str = "latest", *, project: str | None = None) -> dict[str, Any]:
        """One version: `{"version": {…}, "groups": n, "largest_group": n}`."""
        return self._object("GET", f"{_path(name)}/versions/{quote(version, safe='')}", query={"project": project})

    def delete_dataset(self, name: str, *, project: str | None = None) -> dict[str, Any]:
        """Remove one with all its versions, for ever."""
        return self._object("DELETE", _path(name), query={"project": project})

    def examples(self, name: str, **where: str | float | None) -> dict[str, Any]:
        """A page; `where` takes `version`, `split`, `tag`, `slice` (`name:value`), `origin`, `after`, `limit`."""
        return self._object("GET", _path(name) + "/examples", query=where)

    def export_dataset(self, name: str, **where: str | float | None) -> Iterator[bytes]:
        """A file in pieces; `where` takes `format`, `version`, `split`, `tag` and `slice`."""
        response = self.open("GET", _path(name) + "/export", query=where)
        while piece := response.read(1 << 18):
            yield piece

    def import_dataset(
        self,
        name: str,
        path: str | Path,
        *,
        project: str | None = None,
        told: Told | None = None,
        **fields: str | None,
    ) -> dict[str, Any]:
        """Make a file the next version: `{"version": {…}}`. It is sent in pieces, and `told` hears how far it is.

        `fields`: `format`, `columns` (JSON), `mode`, `split`, `tags`, `slices` (JSON), `mixed`, `task`,
        `input_schema`, `output_schema` (JSON), `note`.
        """
        source = Path(path)
        form = Form.of(source, fields)
        target = self._prefix + _path(name) + "/import" + (f"?{urlencode({'project': project})}" if project else "")
        with source.open("rb") as file:
            response = self._send("POST", target, form.pieces(file, told), {**form.headers, "accept": LINES})
            return self._followed(response, target, told, broken=_BROKEN)

    def fill_dataset(
        self,
        name: str,
        how: str,
        body: Mapping[str, Any],
        *,
        told: Told | None = None,
        **where: Asked,
    ) -> dict[str, Any]:
        """`how`: `examples`, `from-calls`, `from-corrections`, `synthesize` or `copy`; `body` as docs/api.md says."""
        said = {key: value for key, value in where.items() if value is not None}
        target = f"{self._prefix}{_path(name)}/{how}" + (f"?{urlencode(said, doseq=True)}" if said else "")
        headers = {"content-type": "application/json", "accept": LINES}
        response = self._send("POST", target, json.dumps(body).encode(), headers)
        return self._followed(response, target, told, broken=_BROKEN)

    def _asked(self, method: str, path: str, project: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._object(method, path, query={"project": project}, body=body)


def _path(name: str) -> str:
    return f"/api/datasets/{quote(name, safe='')}"
