"""Who is asking, and what they may do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The holder of a key, as the request path knows it."""

    key_id: int
    """Row of the key; 0 for Loopwright itself (evaluations, jobs)."""
    key_name: str
    project_id: int
    project: str
    admin: bool = False
    """May manage keys, see every project's calls and sign in to the console as administrator."""
    models: frozenset[str] | None = None
    """Names this key may call; None means every model."""
    tasks: frozenset[str] | None = None
    """Tasks this key may call as `task/NAME`; None means every task."""
    operations: frozenset[str] | None = None
    """Routes of /v1 this key may use, by the name of their operation; None means every route."""
    labels: frozenset[str] | None = None
    """Of documents with labels, this key finds those with one of these; None means every document."""
    until: float | None = None
    """Unix seconds at which the key, or the secret that was given for it, ends."""

    def may_use(self, operation: str) -> bool:
        """Whether the key may use a route of /v1."""
        return self.operations is None or operation in self.operations

    def may_do(self, model: str) -> bool:
        """Whether the key may call `model` as far as it names a task: `task/NAME` or `task/NAME@VARIANT`."""
        return self.tasks is None or not model.startswith("task/") or model[5:].partition("@")[0] in self.tasks

    def may_call(self, model: str) -> bool:
        """Whether the key may call `model` (the very name that will be dispatched)."""
        return self.models is None or model in self.models

    def may_have_done(self, task: str, models: Collection[str]) -> bool:
        """Whether the key may call a task whose variants ask `models`.

        A key that names the task may, whichever models that asks; one that names no tasks may as far as its models go.
        """
        if self.tasks is not None:
            return task in self.tasks
        return self.models is None or f"task/{task}" in self.models or self.models.issuperset(models)


HOUSE = Principal(key_id=0, key_name="loopwright", project_id=0, project="loopwright", admin=True)
