"""What can be said of collections of documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from loopwright.kit.settings_marks import Between, Positive, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSettings:
    """Documents that are searched: how much may come in, from where, and what reading them may take."""

    embedder: str | None = None
    """The model that collections take when they name none; else the first that embeds."""
    project_collections: Positive = 1_000
    """Collections of a project; one more is refused."""
    documents: Positive = 1_000_000
    """Documents of a collection, waiting ones too; one more is refused."""
    upload_limit: Annotated[int, Between(low=1_000, high=2_000_000_000, unit="bytes")] = 50_000_000
    """Bytes of one file or of what a URL gives; more is 413."""
    pages: Positive = 5_000
    """Pages of one file; more make it unreadable, and so with the next three."""
    characters: Positive = 20_000_000
    """Of the text that comes of one file."""
    expanded: Annotated[int, Between(low=1_000, high=10**11, unit="bytes")] = 250_000_000
    """Bytes of a packed file (DOCX) once it is unpacked."""
    read_seconds: Seconds = 120.0
    """CPU time that reading one file may take; on the clock it is twice that."""
    read_memory: Annotated[int, Between(low=50_000_000, high=10**12, unit="bytes")] = 1_500_000_000
    """Memory that reading one file may take."""
    urls: tuple[str, ...] = ()
    """What may be fetched: hosts (`docs.example.com`, `*.example.com`), or beginnings of URLs (`https://example.com/help/`); empty is nothing."""
    private_addresses: bool = False
    """Fetch also from private addresses, of those that `urls` allows: an intranet."""
    url_seconds: Seconds = 30.0
    """For one URL with all its redirects."""
    batch: Annotated[int, Between(low=1, high=2_048)] = 64
    """Pieces, of whatever documents, that one question to the embedder holds."""
    at_once: Annotated[int, Between(low=1, high=64)] = 2
    """Such questions at a time."""
    search_memory: Annotated[int, Between(low=1_000_000, high=10**12, unit="bytes")] = 200_000_000
    """That each process may hold of indexes between searches, once it searches: numbers and vectors, no texts."""
