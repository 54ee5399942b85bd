"""A batch and a file as people and the SDKs see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final, Literal, cast

from loopwright.core.money import usd

Status = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
OPEN: Final[tuple[Status, ...]] = ("validating", "in_progress", "finalizing", "cancelling")
"""Of batches that are not yet at their end."""
ENDPOINTS: Final[Mapping[str, str]] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completion",
    "/v1/embeddings": "embeddings",
    "/v1/responses": "responses",
    "/v1/moderations": "moderations",
}
"""What a batch may ask, and the name of each among the routes a key may be kept to."""
_MOMENTS: Final = (
    "created_at", "in_progress_at", "expires_at", "finalizing_at", "completed_at", "failed_at", "expired_at",
    "cancelling_at", "cancelled_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file of a project."""

    id: str
    project_id: int
    key_id: int
    filename: str
    purpose: str
    bytes: int
    blob: str
    """The SHA-256 its bytes are stored by."""
    created_at: datetime
    expires_at: datetime | None = None

    def shown(self) -> dict[str, Any]:
        """In OpenAI's form."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.bytes,
            "created_at": int(self.created_at.timestamp()),
            "expires_at": _unix(self.expires_at),
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with the input of a batch."""

    code: str
    message: str
    line: int | None = None
    """Of the input file, from 1."""
    param: str | None = None

    def shown(self) -> dict[str, Any]:
        """In OpenAI's form."""
        return {"code": self.code, "message": self.message, "param": self.param, "line": self.line}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What became of the lines of a batch so far."""

    completed: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano: int = 0
    """Nanodollars of the lines whose price is known."""
    unpriced: int = 0
    """Lines whose price is not known."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(Tally)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch of a project."""

    id: str
    project_id: int
    key_id: int
    """The key that made it; each of its lines is asked as by this key."""
    endpoint: str
    input_file_id: str
    status: Status
    created_at: datetime
    expires_at: datetime
    """End of the completion window."""
    output_file_id: str | None = None
    error_file_id: str | None = None
    model: str | None = None
    """Of the first line; lines may name others."""
    metadata: Mapping[str, str] | None = None
    errors: Sequence[Mapping[str, Any]] | None = None
    """Of a failed one: `code`, `message`, `param`, `line`."""
    output_seconds: int | None = None
    """Seconds after which its files expire; None is as the house keeps them."""
    total: int = 0
    tally: Tally = field(default_factory=Tally)
    in_progress_at: datetime | None = None
    finalizing_at: datetime | None = None
    completed_at: datetime | None = None
    failed_at: datetime | None = None
    expired_at: datetime | None = None
    cancelling_at: datetime | None = None
    cancelled_at: datetime | None = None

    @property
    def open(self) -> bool:
        """Whether it is not yet at its end."""
        return self.status in OPEN

    def shown(self) -> dict[str, Any]:
        """In OpenAI's form."""
        tally = self.tally
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "model": self.model,
            "errors": None if self.errors is None else {"object": "list", "data": [*self.errors]},
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            **{name: _unix(getattr(self, name)) for name in _MOMENTS},
            "request_counts": {"total": self.total, "completed": tally.completed, "failed": tally.failed},
            "usage": {
                "input_tokens": tally.input_tokens,
                "input_tokens_details": {"cached_tokens": tally.cached_tokens},
                "output_tokens": tally.output_tokens,
                "output_tokens_details": {"reasoning_tokens": tally.reasoning_tokens},
                "total_tokens": tally.input_tokens + tally.output_tokens,
            },
            "metadata": None if self.metadata is None else dict(self.metadata),
        }

    def detailed(self) -> dict[str, Any]:
        """In OpenAI's form, with what only the management of the house shows; moments are ISO 8601 there."""
        return {
            **self.shown(),
            **{name: _iso(getattr(self, name)) for name in _MOMENTS},
            "project_id": self.project_id,
            "key_id": self.key_id,
            "open": self.open,
            "cost_usd": usd(self.tally.cost_nano) if self.tally.cost_nano or not self.tally.unpriced else None,
            "unpriced": self.tally.unpriced,
        }


def batch_of(row: Mapping[str, Any]) -> Batch:
    """A Batch from its row."""
    counted = {each.name: row[each.name] for each in fields(Tally)}
    plain = {each.name: row[each.name] for each in fields(Batch) if each.name != "tally"}
    return Batch(**plain, tally=Tally(**counted))


def file_of(row: Mapping[str, Any]) -> StoredFile:
    """A StoredFile from its row."""
    return StoredFile(**cast("dict[str, Any]", dict(row)))


def _unix(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
