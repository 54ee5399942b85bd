"""What the thin client asks of files and batches. Stands on the standard library alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from loopwright.kit.rest import Rest
from loopwright.kit.rest_files import Form, Told


class BatchesRest(Rest):
    """Files of clients, and batches of questions that are answered within a day."""

    def upload(
        self, path: str | Path, *, purpose: str = "batch", told: Callable[[int], None] | None = None
    ) -> dict[str, Any]:
        """Send a file in pieces; `told` hears the bytes sent so far."""
        source = Path(path)
        form = Form.of(source, {"purpose": purpose})
        heard: Told | None = None if told is None else lambda _doing, sent, _of: told(sent)
        with source.open("rb") as file:
            response = self._send("POST", self._prefix + "/v1/files", form.pieces(file, heard), form.headers)
            if response.status >= 400:
                raise self._error(response, "/v1/files")
            return self._whole(response, "/v1/files")

    def content(self, file_id: str) -> Iterator[bytes]:
        """The content of a file, in pieces."""
        response = self.open("GET", f"/v1/files/{quote(file_id, safe='')}/content")
        while piece := response.read(1 << 20):
            yield piece

    def create_batch(
        self, input_file_id: str, endpoint: str, metadata: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Have every line of an uploaded file asked, within a day: the batch in OpenAI's form."""
        body = {"input_file_id": input_file_id, "endpoint": endpoint, "completion_window": "24h", "metadata": metadata}
        return self._object("POST", "/v1/batches", body=body)

    def batches(self, **where: str | float | None) -> dict[str, Any]:
        """One page, newest first: `{"batches": […], "next": id or None}`; `where` takes `status`, `before`, `limit`."""
        return self._object("GET", "/api/batches", query=where)

    def batch(self, batch_id: str) -> dict[str, Any]:
        """One batch: its status, how far it is, what it cost, its files."""
        return self._object("GET", f"/api/batches/{quote(batch_id, safe='')}")

    def cancel_batch(self, batch_id: str) -> dict[str, Any]:
        """End a batch early; what is answered by then is in its files."""
        return self._object("POST", f"/api/batches/{quote(batch_id, safe='')}/cancel")
