"""What a recorder sends out: our calls as spans, what is counted as metrics; to each receiver that is configured.

What was said in a call leaves only where the receiver is to have it, and as the policies of privacy have it: what they
replace on its way to a model is replaced here, and what may reach only some places stays here altogether.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from loopwright.access.projects import Projects
from loopwright.catalog.models import Catalog
from loopwright.core.call import CallDetail
from loopwright.core.errors import BadRequest
from loopwright.core.privacy import ALL, Privacy
from loopwright.gateway.counted import buried
from loopwright.gateway.guarded import Policies
from loopwright.guardrails.placeholders import Placeholders
from loopwright.guardrails.span import KINDS
from loopwright.kit.cells import read
from loopwright.kit.db import Database
from loopwright.kit.seal import Seal
from loopwright.kit.settings import Settings
from loopwright.kit.settings_metrics import SendingSettings
from loopwright.laboratory.figures_sent import instance_of, metrics_of
from loopwright.monitoring.rounds import Round
from loopwright.telemetry.emission import Count, Emission
from loopwright.telemetry.emitted import Form
from loopwright.telemetry.sending import NotTaken, Sending

_NAMES_S: Final = 60.0
"""Seconds that the names of projects are remembered."""
_log = logging.getLogger(__name__)


class Emitting:
    """All that one recorder sends."""

    def __init__(self, settings: Settings, db: Database, count: Count, *, latest: bool) -> None:
        """`latest`: by the newest names of the conventions."""
        self._folder = settings.home / "metrics"
        self._projects = _Names(Projects(db))
        self._sending: list[Sending] = []
        self._emissions: list[Emission] = []
        self._metered: list[Metered] = []
        policies = Policies(settings.privacy, Catalog(settings).configured()) if settings.privacy.active else None
        for name, each in settings.monitoring.otlp.items():
            send = Sending(each)
            self._sending.append(send)
            form = Form(content=each.content, latest=latest, service=each.service)
            if each.traces:
                emission = Emission(
                    receiver=name,
                    settings=each,
                    db=db,
                    send=send,
                    form=form,
                    count=count,
                    told=_Told(each, self._projects, policies),
                    projects=_Only(self._projects, each),
                    seal=Seal.of(settings.encryption),
                )
                self._emissions.append(emission)
            if each.metrics:
                self._metered.append(
                    Metered(receiver=name, every=each.every, folder=self._folder, send=send, form=form)
                )

    def rounds(self) -> Sequence[Round]:
        """What is done again and again."""
        return (*self._emissions, *self._metered)

    def numbers(self) -> Mapping[str, float]:
        """For `/metrics`."""
        return {"emission_waiting": sum(each.waiting for each in self._emissions)}

    async def close(self) -> None:
        """Let go of connections."""
        for send in self._sending:
            await send.close()


@dataclass(slots=True, kw_only=True)
class Metered:
    """The round that sends to one receiver what this machine has counted."""

    receiver: str
    every: float
    folder: Path
    send: Sending
    form: Form
    said: str = ""

    @property
    def name(self) -> str:
        """Its own among the rounds: each machine tells of itself."""
        return f"telemetry.metered {self.receiver} {instance_of(self.folder)[0]}"

    async def __call__(self) -> None:
        """Send once; what is not taken is in the next."""
        instance, since = instance_of(self.folder)
        sums = await asyncio.to_thread(read, self.folder, buried)
        message = metrics_of(sums.rows, self.form, instance, since)
        if not any(metric.histogram.data_points for metric in message.resource_metrics[0].scope_metrics[0].metrics):
            return
        try:
            await self.send("metrics", message.SerializeToString())
        except NotTaken as problem:
            if self.said != str(problem):
                self.said = str(problem)
                _log.warning("receiver %s did not take metrics: %s", self.receiver, problem)
        else:
            self.said = ""


class _Names:
    """Names of projects, by number."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects
        self._at = float("-inf")
        self.known: dict[int, str] = {}

    async def fresh(self) -> Mapping[int, str]:
        if time.monotonic() - self._at > _NAMES_S:
            self.known = {project.id: project.name for project in await self._projects.list()}
            self._at = time.monotonic()
        return self.known


@dataclass(frozen=True, slots=True)
class _Only:
    names: _Names
    settings: SendingSettings

    async def __call__(self) -> frozenset[int] | None:
        known = await self.names.fresh()
        if not self.settings.projects:
            return None
        return frozenset(number for number, name in known.items() if name in self.settings.projects)


@dataclass(frozen=True, slots=True)
class _Told:
    """What of a call may leave for a receiver."""

    settings: SendingSettings
    names: _Names
    policies: Policies | None

    def __call__(self, detail: CallDetail) -> CallDetail:
        """Its texts as the policies have them, where they are wanted at all."""
        if not self.settings.content or self.policies is None:
            return detail
        call = detail.call
        project = self.names.known.get(call.project_id, "")
        return redacted(detail, self.policies.of_task(project, call.task or "", [call.model]))


def redacted(detail: CallDetail, policy: Privacy | None) -> CallDetail:
    """A call with its texts as a policy lets them leave: as they are, with placeholders, or without them."""
    if policy is None:
        return detail
    found = any(each.get("sensitive") for each in detail.sent or ())
    if policy.confines or policy.sensitive is not None or found or not policy.store:
        return _bare(detail)
    if not policy.redact:
        return detail
    placeholders = Placeholders(frozenset(KINDS) if ALL in policy.redact else policy.redact)
    try:
        request = None if detail.request is None else placeholders.hide(detail.request)
        response = None if detail.response is None else placeholders.hide(detail.response)
        error = None if detail.call.error is None else placeholders.text(detail.call.error)
    except BadRequest:  # nested beyond reason, or tokens: it cannot be searched
        return _bare(detail)
    return replace(detail, call=replace(detail.call, error=error), request=request, response=response, request_raw=None)


def _bare(detail: CallDetail) -> CallDetail:
    call: Any = replace(detail.call, error=None)
    return replace(detail, call=call, request=None, response=None, request_raw=None)
