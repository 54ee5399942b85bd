"""What can be said of privacy: where requests may go, what is taken out of them, what is kept of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["all", "card", "crypto", "email", "iban", "ip", "mac", "person_id", "phone", "secret", "ssn"]
"""What `guardrails/span.py` finds, which a test holds to be the same, and `all` of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitiveSettings:
    """When only what is ours may answer."""

    pii: tuple[Kind, ...] = ()
    """Kinds of personal data that make a request sensitive when they are found in it; `all` for every kind."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags that do, with their values; `"*"` is any value."""
    model: str | None = None
    """A model on an engine of ours that answers when the one that was asked for has no own target; without it, 403."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """One policy; what it does not say, it does not limit."""

    residency: tuple[str, ...] | None = None
    """Regions whose targets may be asked (`eu` holds `eu-central-1`), `own` for all that is ours, `any` for no limit."""
    redact: tuple[Kind, ...] | None = None
    """Kinds of personal data that are replaced by placeholders before a request leaves, and put back in the answer."""
    sensitive: SensitiveSettings = field(default_factory=SensitiveSettings)
    """When only what is ours may answer."""
    store: bool | None = None
    """`false`: of calls only metadata is kept, no texts, and their answers are not given again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacySettings:
    """Policies. What applies to a request is the strictest of its project's and of the name's that it calls."""

    trail: bool = False
    """Note of every call which bytes went where, also where no policy applies."""
    default: PolicySettings = field(default_factory=PolicySettings)
    """For every project, as far as its own policy does not say otherwise."""
    projects: Mapping[str, PolicySettings] = field(default_factory=dict)
    """By name of a project."""
    models: Mapping[str, PolicySettings] = field(default_factory=dict)
    """By the name that is called: a model or an alias, `task/NAME`, `task/NAME@VARIANT`."""

    @property
    def active(self) -> bool:
        """Whether any request is under a policy, or its trail is kept."""
        return self.trail or self.default != PolicySettings() or bool(self.projects) or bool(self.models)
