"""What may become of a request's texts: where they may go, what is taken out of them first, what is kept.

A policy is frozen; what is noted of one request on its way (where its bytes went) is in the policy's `trail`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

OWN: Final = "own"
"""Stands among regions for every target of ours."""
ALL: Final = "all"
"""Stands among kinds for every kind."""
_APART: Final = 6
"""Departures of one call that are noted one by one; what follows to the same target is added to its last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a target is, and whose."""

    provider: str
    model: str = ""
    region: str | None = None
    """As its settings say: `eu`, `eu-central-1`; None is not known, or the house itself for an engine of ours."""
    own: bool = False
    """Ours: an engine of this house, or a server that its settings call ours."""

    def within(self, allowed: Iterable[str]) -> bool:
        """Whether it is in one of the regions `allowed`: `eu` holds `eu-central-1`, and `own` whatever is ours.

        An engine of the house has no region: what it is asked never leaves.
        """
        if self.own and self.region is None:
            return True
        here = (self.region or "").casefold()
        for region in allowed:
            if region == OWN:
                if self.own:
                    return True
            elif here and (here == (name := region.casefold()) or here.startswith(name + "-")):
                return True
        return False


NOWHERE: Final = Place(provider="")
"""Of what is asked only through others; no region allows it."""


class Departure:
    """Bytes that left for a target, once or several times."""

    __slots__ = ("_digest", "answered", "began_us", "bodies", "exact", "place", "redacted", "sensitive", "size")

    def __init__(self, place: Place, redacted: Mapping[str, int], sensitive: str = "") -> None:
        self.place = place
        self.sensitive = sensitive
        """Why only what is ours might answer."""
        self.redacted = dict(redacted)
        """How many of each kind had been replaced by then."""
        self.size = 0
        self.bodies = 0
        self.exact = True
        """False where a plug-in did not say what it sent: then size and hash are of the question it was given."""
        self.answered = False
        self.began_us = time.time_ns() // 1000
        """Unix time of the first of them."""
        self._digest = hashlib.sha256()

    def sent(self, body: bytes) -> None:
        """A provider sends `body`."""
        self.bodies += 1
        self.size += len(body)
        self._digest.update(body)

    def shown(self) -> dict[str, Any]:
        """As it is kept: JSON."""
        place = self.place
        out: dict[str, Any] = {
            "provider": place.provider,
            "model": place.model,
            "region": place.region,
            "own": place.own,
            "bytes": self.size,
            "bodies": self.bodies,
            "sha256": self._digest.hexdigest(),
            "answered": self.answered,
            "at_us": self.began_us,
        }
        if self.redacted:
            out["redacted"] = dict(sorted(self.redacted.items()))
        if self.sensitive:
            out["sensitive"] = self.sensitive
        if not self.exact:
            out["exact"] = False
        return out


class Trail:
    """Where the bytes of one call went, in order, and what had been taken out of them."""

    __slots__ = ("departures", "redacted")

    def __init__(self) -> None:
        self.departures: list[Departure] = []
        self.redacted: dict[str, int] = {}
        """How many of each kind were replaced, so far."""

    def leaves(self, place: Place, sensitive: str = "") -> Departure:
        """Bytes are about to leave for `place`; tell the Departure which. `sensitive` is why only ours might answer."""
        if len(self.departures) >= _APART:
            for known in reversed(self.departures):
                if known.place == place and known.redacted == self.redacted:
                    return known
        made = Departure(place, self.redacted, sensitive)
        self.departures.append(made)
        return made

    def shown(self) -> list[dict[str, Any]]:
        """As it is kept: JSON."""
        return [each.shown() for each in self.departures]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitive:
    """When a request may be answered only by what is ours."""

    pii: frozenset[str] = frozenset()
    """Kinds that make it sensitive when found in it; `all` for every kind."""
    tags: frozenset[tuple[str, str]] = frozenset()
    """Tags that do; a value of `*` is any."""
    model: str | None = None
    """An own model that answers where the one that was asked for has no own target."""

    def joined(self, other: Sensitive) -> Sensitive:
        """What either calls sensitive; the model of `self` goes first."""
        return Sensitive(pii=self.pii | other.pii, tags=self.tags | other.tags, model=self.model or other.model)

    def tagged(self, tags: Mapping[str, str]) -> str | None:
        """The tag that makes a request sensitive, as `name:value`."""
        for name, value in sorted(self.tags):
            given = tags.get(name)
            if given is not None and value in ("*", given):
                return f"{name}:{given}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """The policy of one request: the strictest of all that apply to it."""

    residency: tuple[frozenset[str], ...] = ()
    """Every one of these sets of regions must hold a target that may be asked."""
    own_only: bool = False
    """Found sensitive: only targets of ours."""
    because: str = ""
    """Why it was found sensitive, without quoting it: `email`, `tag class:secret`."""
    redact: frozenset[str] = frozenset()
    """Kinds that are replaced before a request leaves; `all` for every kind."""
    sensitive: Sensitive | None = None
    store: bool = True
    """False: only metadata is kept."""
    sources: tuple[str, ...] = ()
    """Which policies these are, for messages: `privacy.projects.acme`."""
    trail: Trail | None = field(default=None, compare=False)
    """Where departures of this request are noted."""
    departure: Departure | None = field(default=None, compare=False)
    """The one that a provider is about to make."""

    def joined(self, other: Privacy) -> Privacy:
        """The strictest of both."""
        sensitive = self.sensitive
        if other.sensitive is not None:
            sensitive = other.sensitive if sensitive is None else sensitive.joined(other.sensitive)
        return Privacy(
            residency=tuple(dict.fromkeys((*self.residency, *other.residency))),
            own_only=self.own_only or other.own_only,
            because=self.because or other.because,
            redact=self.redact | other.redact,
            sensitive=sensitive,
            store=self.store and other.store,
            sources=tuple(dict.fromkeys((*self.sources, *other.sources))),
            trail=self.trail or other.trail,
        )

    @property
    def confines(self) -> bool:
        """Whether some targets may not be asked."""
        return self.own_only or bool(self.residency)

    def allows(self, place: Place) -> bool:
        """Whether a target at `place` may be asked."""
        if self.own_only and not place.own:
            return False
        return all(place.within(allowed) for allowed in self.residency)

    def leaving(self, place: Place) -> Privacy:
        """The same for one attempt at `place`, whose bytes are noted; itself where no trail is kept."""
        return self if self.trail is None else replace(self, departure=self.trail.leaves(place, self.because))

    def sent(self, body: bytes) -> None:
        """A provider hands `body` to its connection."""
        if self.departure is not None:
            self.departure.sent(body)

    def replaced(self, kind: str, count: int = 1) -> None:
        """So many texts of a kind were replaced by placeholders."""
        if self.trail is not None and count:
            self.trail.redacted[kind] = self.trail.redacted.get(kind, 0) + count


NO_STORE: Final = Privacy(store=False)
"""What a client asks for by `x-loopwright-no-store` or `"store": false`."""
