"""Mirrors of calls over a whole house: a round for each exporter of the settings, and what policies of privacy let go there."""

from __future__ import annotations

from collections.abc import Sequence

from loopwright.app import App
from loopwright.core.call import CallDetail
from loopwright.core.privacy import Place
from loopwright.exports.mirror import MayLeave, Mirror
from loopwright.exports.outgoing import Source
from loopwright.gateway.guarded import Guarded
from loopwright.kit.settings_exports import ExportSettings


class Mirroring:
    """The rounds of one process."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._names: dict[int, str] = {}
        source = Source(calls=app.calls, feedback=app.workshop.feedback)

        async def project_of(name: str) -> int | None:
            return next((each.id for each in await app.projects.list() if each.name == name), None)

        self._mirrors = [
            Mirror(
                db=app.db,
                source=source,
                settings=settings,
                project_of=project_of,
                may_leave=self._may_leave(name, settings),
                called=name,
            )
            for name, settings in app.settings.exports.items()
        ]

    def rounds(self) -> Sequence[Mirror]:
        """One for each."""
        return self._mirrors

    async def close(self) -> None:
        """Let go of connections."""
        for each in self._mirrors:
            await each.close()

    def _may_leave(self, name: str, settings: ExportSettings) -> MayLeave:
        """Whether texts may go to a mirror: where they may not all go as they are, none go."""
        place = Place(provider=name, region=settings.region or "", own=settings.own)
        recorded = self._app.recorded

        async def may(detail: CallDetail) -> bool:
            if not isinstance(recorded, Guarded):
                return True
            call = detail.call
            if call.project_id not in self._names:
                self._names = {each.id: each.name for each in await self._app.projects.list()}
            project = self._names.get(call.project_id, "")
            policy = recorded.policies.of_task(project, call.task or "", [call.model, call.target])
            if policy is None or (place.own and policy.allows(place)):
                return True
            # Nothing is taken out of them on this way, and nobody looks whether they are sensitive.
            return policy.allows(place) and not policy.redact and policy.sensitive is None

        return may
