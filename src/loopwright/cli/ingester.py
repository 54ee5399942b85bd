"""The process that the recorder starts while documents wait: files of strangers are read far from the record of calls.

What such files do to a reader happens in processes of its own, which it starts. Not for people.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from typing import Final

import uvloop

from loopwright.access.projects import Projects
from loopwright.app import App, build
from loopwright.cli.starting import raise_file_limit, start_log, until_told
from loopwright.core.errors import NotFound, Unavailable
from loopwright.core.privacy import Privacy
from loopwright.documents.limits import Limits
from loopwright.documents.sandboxed import Reader
from loopwright.gateway.embedder import CalledEmbedder
from loopwright.gateway.guarded import Guarded
from loopwright.kit.ending import end
from loopwright.kit.ids import Ids
from loopwright.kit.settings import Settings
from loopwright.kit.settings_collections import CollectionSettings
from loopwright.kit.settings_file import load
from loopwright.laboratory.token_counts import counter_of
from loopwright.retrieval.collection import Collection
from loopwright.retrieval.embedded import Tokens
from loopwright.retrieval.ingesting import Ingester

_POOL: Final = 4
_log = logging.getLogger(__name__)


def ingester() -> None:
    """Read documents that wait until told to stop."""
    settings = load(env=os.environ)
    start_log(settings)
    raise_file_limit()
    uvloop.run(until_told(ingest(settings)))


async def ingest(settings: Settings) -> None:
    """Read documents in this process until cancelled: over a house of its own, beside its road, and not on record.

    Raises:
        StartError: the database does not answer, or another process reads documents in this data folder.
    """
    house = await build(replace(settings, database=replace(settings.database, pool=_POOL)))
    models = Models(house)
    try:
        async with Reader(limits=limits_of(settings.collections)) as reader:
            calibrating = asyncio.create_task(house.calibrations.keep_current(house.policy_of))
            try:
                await Ingester(house.workshop.intake, reader, models.embed, models.tokens).run()
            finally:
                await end([calibrating])
    finally:
        await house.close()


def limits_of(settings: CollectionSettings) -> Limits:
    """What reading one file may take."""
    return Limits(
        size=settings.upload_limit,
        pages=settings.pages,
        characters=settings.characters,
        expanded=settings.expanded,
        seconds=settings.read_seconds,
        memory=settings.read_memory,
    )


class Models:
    """The models of a house, as documents need them: their vectors, and how they count."""

    def __init__(self, house: App) -> None:
        self._house = house
        self._ids = Ids()
        self._counters: dict[str, Tokens] = {}
        self._projects: dict[int, str] = {}

    async def embed(self, collection: Collection, model: str, texts: list[str], /) -> list[list[float]]:
        """See `retrieval.embedded.Embeds`."""
        target = self._house.targets.get(model)
        if target is None:
            raise Unavailable(
                f"no model is called {model!r} here now: configure it, or embed the collection with another"
            )
        asked = CalledEmbedder(target.chat, model, self._ids)
        return await asked(texts, privacy=await self._policy(collection.project_id, model))

    def tokens(self, model: str) -> Tokens:
        """See `retrieval.embedded.TokensOf`."""
        known = self._counters.get(model)
        if known is None:
            known, _ = counter_of(self._house, model)
            self._counters[model] = known
        return known

    async def _policy(self, project_id: int, model: str) -> Privacy | None:
        recorded = self._house.recorded
        if not isinstance(recorded, Guarded):
            return None
        if project_id not in self._projects:
            self._projects = {project.id: project.name for project in await Projects(self._house.db).list()}
        if project_id not in self._projects:
            raise NotFound(f"there is no project {project_id} any more")
        return recorded.policies.of_task(self._projects[project_id], "", [model])
