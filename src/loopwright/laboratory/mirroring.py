"""Mirrors of calls over a whole house: a round for each exporter of the settings."""

from __future__ import annotations

from collections.abc import Sequence

from loopwright.app import App
from loopwright.exports.mirror import Mirror
from loopwright.exports.outgoing import Source


class Mirroring:
    """The rounds of one process."""

    def __init__(self, app: App) -> None:
        source = Source(calls=app.calls, feedback=app.workshop.feedback)

        async def project_of(name: str) -> int | None:
            return next((each.id for each in await app.projects.list() if each.name == name), None)

        self._mirrors = [
            Mirror(db=app.db, source=source, settings=settings, project_of=project_of, called=name)
            for name, settings in app.settings.exports.items()
        ]

    def rounds(self) -> Sequence[Mirror]:
        """One for each."""
        return self._mirrors

    async def close(self) -> None:
        """Let go of connections."""
        for each in self._mirrors:
            await each.close()
