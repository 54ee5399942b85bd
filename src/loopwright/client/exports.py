"""What the thin client asks of taking calls out: files, and mirrors elsewhere. Stands on the standard library alone."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from loopwright.core.errors import Unavailable
from loopwright.kit.rest import Asked, Rest

_PIECE = 1 << 16


class ExportsRest(Rest):
    """Exports over REST."""

    def export_calls(
        self, form: str = "jsonl", *, texts: bool = True, limit: int | None = None, **where: Asked
    ) -> Iterator[bytes]:
        """Calls as a file, newest first, in pieces: `jsonl`, `parquet` or `otlp`; `where` as of `calls`.

        Raises:
            Unavailable: it broke off; what came is not the whole file.
        """
        query = {**where, "format": form, "texts": "true" if texts else "false", "limit": limit}
        response = self.open("GET", "/api/calls/export", query=query)
        try:
            while piece := response.read(_PIECE):
                yield piece
        except (OSError, http.client.HTTPException) as error:
            message = f"the export of {self.url} broke off\nWhat came is not the whole file: try again"
            raise Unavailable(message) from error
        finally:
            if not response.isclosed():
                self.close()  # the rest of it would be taken for the next answer

    def exports(self) -> list[dict[str, Any]]:
        """What is mirrored elsewhere, and how far each is."""
        return self._list("/api/exports", "exports")

    def run_export(self, name: str, **where: str | None) -> dict[str, Any]:
        """Have calls on record mirrored (again): `{"queued": n}`; `where` takes `since` and `until`."""
        return self._object("POST", f"/api/exports/{quote(name, safe='')}/run", query=where)
