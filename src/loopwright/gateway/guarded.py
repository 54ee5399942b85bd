"""Gives a request its policy of privacy: the strictest of its project's, of the name's it calls, and of its own wish.

Outermost, so that a call is recorded as its policy says also where it is refused at the door. Refuses nothing itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from msgspec import structs

from loopwright.core.chat import Delta, Request
from loopwright.core.errors import LoopwrightError
from loopwright.core.privacy import Privacy, Sensitive, Trail
from loopwright.core.who import Principal
from loopwright.gateway.recorded import Recorded
from loopwright.kit.settings import ModelSettings
from loopwright.kit.settings_privacy import PolicySettings, PrivacySettings, SensitiveSettings

_ANY: Final = "any"
_OPEN: Final = Privacy()
_MOST: Final = 10_000
"""Names of variants and of projects come from people: how many combinations are remembered is bounded."""


class Policies:
    """Which policy applies to whom; worked out once for each project and name that have one."""

    def __init__(self, settings: PrivacySettings, models: Mapping[str, ModelSettings]) -> None:
        """`models` as configured: a policy of a model holds for its aliases, too."""
        self._default = _policy(settings.default, PolicySettings(), "privacy.default")
        self._projects = {
            name: _policy(policy, settings.default, f"privacy.projects.{name}")
            for name, policy in settings.projects.items()
        }
        self._names: dict[str, Privacy] = {}
        for name, policy in settings.models.items():
            made = _policy(policy, PolicySettings(), f"privacy.models.{name}")
            for word in (name, *(models[name].aliases if name in models else ())):
                known = self._names.get(word)
                self._names[word] = made if known is None else known.joined(made)
        self._trail = settings.trail
        self._known: dict[tuple[str, str], Privacy] = {}

    def of(self, request: Request) -> Privacy | None:
        """The policy of a request, with a trail of its own; None when it is under none."""
        found = self._named(request.who.project, request.model)
        if request.assignment is not None:  # whatever it is called by, a model's own policy holds
            for asked in request.assignment.models:
                found = found.joined(self._names.get(asked, _OPEN))
        wish = request.privacy
        if wish is not None:
            found = found.joined(wish)
        if found == _OPEN and not self._trail:
            return None
        return replace(found, trail=Trail())

    def of_task(self, project: str, task: str, models: Iterable[str]) -> Privacy | None:
        """What holds for texts of a task that nobody asks anything with now: the strictest of its own and its models'."""
        found = self._named(project, f"task/{task}")
        for name in models:
            found = found.joined(self._names.get(name, _OPEN))
        return None if found == _OPEN else found

    def keeps(self, who: Principal, model: str = "") -> bool:
        """Whether texts that somebody asks (of `model`) may be kept."""
        return self._named(who.project, model).store

    def _named(self, project: str, model: str) -> Privacy:
        found = self._projects.get(project, self._default)
        return self._joined(project, model, found) if model in self._names or model.startswith("task/") else found

    def _joined(self, project: str, model: str, base: Privacy) -> Privacy:
        known = self._known.get((project, model))
        if known is not None:
            return known
        task, at, _ = model.partition("@")
        found, named = base, False
        for name in (model, task) if at and model.startswith("task/") else (model,):
            if name in self._names:
                found, named = found.joined(self._names[name]), True
        if named and len(self._known) < _MOST:
            self._known[project, model] = found
        return found


@dataclass(frozen=True, slots=True)
class Guarded:
    """Composed only where a policy is configured."""

    inner: Recorded
    policies: Policies

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer under the policy."""
        return self.inner(self._under(request))

    def refuse(self, request: Request, error: LoopwrightError) -> None:
        """Record a request that was refused before it could take the road, as its policy says."""
        self.inner.refuse(self._under(request), error)

    def _under(self, request: Request) -> Request:
        privacy = self.policies.of(request)
        return request if privacy is None else structs.replace(request, privacy=privacy)


def _policy(told: PolicySettings, default: PolicySettings, source: str) -> Privacy:
    """The policy that settings describe; what they do not say, `default` says."""
    residency = told.residency if told.residency is not None else default.residency
    redact = told.redact if told.redact is not None else default.redact
    store = told.store if told.store is not None else default.store
    sensitive = told.sensitive if told.sensitive != SensitiveSettings() else default.sensitive
    made = Privacy(
        residency=(frozenset(residency),) if residency and _ANY not in residency else (),
        redact=frozenset(redact or ()),
        sensitive=_sensitive(sensitive),
        store=store is not False,
    )
    return made if made == _OPEN else replace(made, sources=(source,))


def _sensitive(told: SensitiveSettings) -> Sensitive | None:
    if not told.pii and not told.tags:
        return None
    return Sensitive(pii=frozenset(told.pii), tags=frozenset(told.tags.items()), model=told.model)
