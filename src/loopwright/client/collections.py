"""What the thin client asks of collections and their documents. Stands on the standard library alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from loopwright.kit.rest import LINES, Rest
from loopwright.kit.rest_files import Form, Told

_BROKEN = "Do it again: what was taken is unchanged"


class CollectionsRest(Rest):
    """Collections of a running Loopwright. `project` is for administrators: whose collections are meant."""

    def collections(self, *, project: str | None = None) -> list[dict[str, Any]]:
        """Every collection by name."""
        return self._every("/api/collections", "collections", {"project": project})

    def create_collection(self, name: str, *, project: str | None = None, **about: Any) -> dict[str, Any]:
        """Make an empty one; `about`: `description`, `embedder`, `chunking`, `search`."""
        said = {key: value for key, value in about.items() if value is not None}
        body = {"name": name, **said}
        return dict(self._object("POST", "/api/collections", query={"project": project}, body=body)["collection"])

    def collection(self, name: str, *, project: str | None = None) -> dict[str, Any]:
        """One, and how far it is: `{"collection": {…}, "progress": {…}, "limits": {…}}`."""
        return self._object("GET", _path(name), query={"project": project})

    def change_collection(self, name: str, *, project: str | None = None, **said: Any) -> dict[str, Any]:
        """Change `name`, `description`, `chunking` or `search`; what is left out stays."""
        return dict(self._object("PATCH", _path(name), query={"project": project}, body=said)["collection"])

    def delete_collection(self, name: str, *, project: str | None = None) -> dict[str, Any]:
        """Remove one with all that is in it, for ever."""
        return self._object("DELETE", _path(name), query={"project": project})

    def collection_progress(self, name: str, *, project: str | None = None) -> dict[str, Any]:
        """How many documents wait, can be found and failed, and how far embedding anew is."""
        return self._object("GET", _path(name) + "/progress", query={"project": project})

    def embed_collection(self, name: str, embedder: str, *, project: str | None = None) -> dict[str, Any]:
        """Embed all of it anew with another model, in the background."""
        return self._object("POST", _path(name) + "/embed", query={"project": project}, body={"embedder": embedder})

    def search_collection(self, name: str, query: str, *, project: str | None = None, **options: Any) -> dict[str, Any]:
        """Passages for `query`: `{"passages", "queries", "took_us", "warnings"}`; `options` as in docs/search.md."""
        body = {"query": query, **options}
        return self._object("POST", _path(name) + "/search", query={"project": project}, body=body)

    def calibrate_collection(
        self,
        name: str,
        *,
        queries: Sequence[Mapping[str, Any]] | None = None,
        miss: float = 0.05,
        project: str | None = None,
    ) -> dict[str, Any]:
        """Fit how much evidence is enough: to `queries`, `{"query", "answered"}`, or to some made of its texts.

        `miss` is the share of questions with an answer that may be taken to have none.
        """
        body = {"miss": miss, **({} if queries is None else {"queries": [*queries]})}
        found = self._object("POST", _path(name) + "/calibrate", query={"project": project}, body=body)
        return dict(found["calibration"])

    def collection_calibration(self, name: str, *, project: str | None = None) -> dict[str, Any] | None:
        """What holds now; None where nothing is calibrated."""
        found = self._object("GET", _path(name) + "/calibration", query={"project": project})["calibration"]
        return None if found is None else dict(found)

    # Documents

    def documents(self, name: str, **where: str | float | None) -> dict[str, Any]:
        """A page; `where` takes `state`, `origin`, `label`, `metadata` (JSON), `prefix`, `after`, `limit`, `project`."""
        return self._object("GET", _path(name) + "/documents", query=where)

    def document(self, name: str, document_id: int, *, project: str | None = None) -> dict[str, Any]:
        """One, without its text."""
        return dict(
            self._object("GET", f"{_path(name)}/documents/{document_id}", query={"project": project})["document"]
        )

    def document_text(self, name: str, document_id: int, **where: str | float | None) -> dict[str, Any]:
        """What it says; `where` takes `start`, `length` (characters) and `project`."""
        return self._object("GET", f"{_path(name)}/documents/{document_id}/text", query=where)

    def delete_document(self, name: str, document_id: int, *, project: str | None = None) -> dict[str, Any]:
        """Take one out, for ever."""
        return self._object("DELETE", f"{_path(name)}/documents/{document_id}", query={"project": project})

    def delete_documents(self, name: str, **where: str | float | None) -> dict[str, Any]:
        """Take out, for ever, all that are all of `where`: `state`, `origin`, `label`, `metadata` (JSON), `prefix`."""
        return self._object("DELETE", _path(name) + "/documents", query=where)

    def lacking_documents(
        self, name: str, having: Sequence[Mapping[str, Any]], *, project: str | None = None, **said: Any
    ) -> list[str]:
        """Names of those files, `{"name", "sha"}`, that are wanted; `said`: `labels` and `metadata` of all of them."""
        body = {"documents": [*having], **said}
        found = self._object("POST", _path(name) + "/documents/lacking", query={"project": project}, body=body)
        return list(found["lacking"])

    def prune_documents(self, name: str, keep: Sequence[str], *, prefix: str = "", project: str | None = None) -> int:
        """Take out every document that came as a file and is not among those to keep, for ever; how many."""
        body = {"keep": [*keep], "prefix": prefix}
        found = self._object("POST", _path(name) + "/documents/prune", query={"project": project}, body=body)
        return int(found["deleted"])

    def add_documents(
        self, name: str, *, project: str | None = None, told: Told | None = None, **new: Any
    ) -> dict[str, Any]:
        """Take in `records` (`{"id", "text"}`), `urls` or small `files` (`{"name", "data"}`, bytes).

        `labels` and `metadata` are of all of them. The answer says of each what became of it.
        """
        if "files" in new:
            new["files"] = [{**each, "data": base64.b64encode(each["data"]).decode()} for each in new["files"]]
        target = f"{self._prefix}{_path(name)}/documents" + (f"?{urlencode({'project': project})}" if project else "")
        headers = {"content-type": "application/json", "accept": LINES}
        response = self._send("POST", target, json.dumps(new).encode(), headers)
        return self._followed(response, target, told, broken=_BROKEN)

    def add_document(
        self,
        name: str,
        path: str | Path,
        /,
        *,
        project: str | None = None,
        told: Told | None = None,
        **fields: str | None,
    ) -> dict[str, Any]:
        """Take in one file of any size, sent in pieces; `fields`: `name`, `labels` (commas between), `metadata` (JSON)."""
        source = Path(path)
        form = Form.of(source, fields)
        target = f"{self._prefix}{_path(name)}/documents" + (f"?{urlencode({'project': project})}" if project else "")
        with source.open("rb") as file:
            response = self._send("POST", target, form.pieces(file, told), form.headers)
        if response.status >= 400:
            raise self._error(response, target)
        return self._whole(response, target)


def _path(name: str) -> str:
    return f"/api/collections/{quote(name, safe='')}"
