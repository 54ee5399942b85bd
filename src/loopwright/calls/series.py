"""A filter as a condition on `call_series`: what all calls of a series have in common."""

from __future__ import annotations

from typing import Any, Final

from loopwright.calls.question import CallFilter

NAMED: Final = ("model", "task", "variant", "prompt_version", "target", "provider", "operation")
"""Fields of a filter that are columns of a series."""
_OPTIONAL: Final = ("task", "variant", "prompt_version")


def asks_series(asked: CallFilter) -> bool:
    """Whether the filter says anything of series, besides their project."""
    return any(getattr(asked, name) is not None for name in NAMED) or any(name in NAMED for name in asked.without)


def series_sql(asked: CallFilter) -> tuple[str, dict[str, Any]]:
    """(SQL over `call_series s`, its parameters, all of whose names begin with `s_`)."""
    where: list[str] = []
    params: dict[str, Any] = {}
    if asked.project_id is not None:
        where.append("s.project_id = %(s_project)s")
        params["s_project"] = asked.project_id
    for name in NAMED:
        value = getattr(asked, name)
        if value is not None:
            where.append(f"s.{name} = %(s_{name})s")
            params[f"s_{name}"] = value
        if name in asked.without:
            where.append(f"s.{name} is null" if name in _OPTIONAL else f"s.{name} = ''")
    return " and ".join(where) or "true", params
