"""Our experiments and runs as MLflow's REST shows them, and which of them its searches mean."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from loopwright.core.errors import BadRequest
from loopwright.runs.run import Experiment, Point, Run

_STATUS: Final = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
_NAME: Final = r"""(?:(?P<of>\w+)\.)?(?:`(?P<back>[^`]+)`|"(?P<quoted>[^"]+)"|(?P<plain>[\w./-]+))"""
_CLAUSE: Final = re.compile(
    rf"""\s*{_NAME}\s*(?P<sign>!=|>=|<=|=|>|<|i?like)\s*(?:'(?P<text>[^']*)'|"(?P<also>[^"]*)"|(?P<number>[-+.\deE]+))\s*""",
    re.IGNORECASE,
)
_ORDER: Final = re.compile(rf"\s*{_NAME}\s*(?P<way>asc|desc)?\s*", re.IGNORECASE)
_SIGNS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "like": lambda a, b: _like(a, b, 0),
    "ilike": lambda a, b: _like(a, b, re.IGNORECASE),
}
_OF: Final = {"metric": "metrics", "param": "params", "parameter": "params", "tag": "tags", "attribute": "attributes"}


def experiment_out(experiment: Experiment) -> dict[str, Any]:
    """An experiment."""
    made = stamp(experiment.created_at)
    return {
        "experiment_id": str(experiment.id),
        "name": experiment.name,
        "artifact_location": "mlflow-artifacts:/",
        "lifecycle_stage": "active",
        "creation_time": made,
        "last_update_time": made if experiment.latest is None else stamp(experiment.latest),
        "tags": [{"key": name, "value": value} for name, value in experiment.tags.items()],
    }


def run_out(run: Run) -> dict[str, Any]:
    """A run with its data and inputs."""
    info = {
        "run_id": run.id,
        "run_uuid": run.id,
        "run_name": run.name,
        "experiment_id": str(run.experiment_id),
        "user_id": run.author,
        "status": _STATUS[run.status],
        "start_time": stamp(run.started_at),
        "artifact_uri": f"mlflow-artifacts:/{run.id}",
        "lifecycle_stage": "active",
    }
    if run.ended_at is not None:
        info["end_time"] = stamp(run.ended_at)
    metrics = [
        {"key": name, "value": _value(each.last), "timestamp": stamp(each.at), "step": each.step}
        for name, each in run.metrics.items()
    ]
    params = [{"key": name, "value": _text(value)} for name, value in run.params.items()]
    tags = {"mlflow.runName": run.name, **run.tags}
    datasets = [
        {
            "tags": [{"key": "mlflow.data.context", "value": str(each.get("split") or "")}],
            "dataset": {
                "name": str(each.get("dataset")),
                "digest": str(each.get("sha") or "")[:36],
                "source_type": "loopwright",
                "source": f"{each.get('dataset')}@{each.get('number')}",
            },
        }
        for each in run.data
    ]
    data = {"metrics": metrics, "params": params, "tags": [{"key": key, "value": tags[key]} for key in tags]}
    return {"info": info, "data": data, "inputs": {"dataset_inputs": datasets}}


def metric_out(point: Point) -> dict[str, Any]:
    """A point of a metric."""
    assert point.at is not None
    return {"key": point.name, "value": _value(point.value), "timestamp": stamp(point.at), "step": point.step}


def stamp(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


def moment(ms: Any) -> datetime | None:
    """What `stamp` says.

    Raises:
        BadRequest: it is no time.
    """
    if ms is None:
        return None
    try:
        return datetime.fromtimestamp(int(ms) / 1000, UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        raise BadRequest(f"{str(ms)[:40]!r} is no time in milliseconds") from None


def chosen(runs: Sequence[Run], wanted: str) -> list[Run]:
    """Those that a filter of MLflow's means: comparisons joined by `and`.

    Raises:
        BadRequest: names the part that is not understood.
    """
    tests = [_test(part) for part in re.split(r"\s+and\s+", wanted.strip(), flags=re.IGNORECASE) if part]
    return [run for run in runs if all(test(run) for test in tests)]


def ordered(runs: Sequence[Run], order: Sequence[str]) -> list[Run]:
    """As `order_by` says; runs without the value come last.

    Raises:
        BadRequest: names the part that is not understood.
    """
    found = [*runs]
    for each in reversed(order):
        read = _ORDER.fullmatch(each)
        if read is None:
            raise BadRequest(f"order_by: {each[:80]!r} is not understood", param="order_by")
        value = _reader(read)
        down = (read["way"] or "").lower() == "desc"
        there = [run for run in found if value(run) is not None]
        gone = [run for run in found if value(run) is None]
        found = [*sorted(there, key=value, reverse=down), *gone]
    return found


def _test(part: str) -> Callable[[Run], bool]:
    read = _CLAUSE.fullmatch(part)
    if read is None:
        raise BadRequest(f"filter: {part[:80]!r} is not understood: write it like metrics.loss < 0.5", param="filter")
    value, sign = _reader(read), _SIGNS[read["sign"].lower()]
    text = read["text"] if read["text"] is not None else read["also"]
    try:
        against: Any = float(read["number"]) if text is None else text
    except ValueError:
        raise BadRequest(f"filter: {read['number'][:40]!r} is no number", param="filter") from None

    def test(run: Run) -> bool:
        found = value(run)
        same = isinstance(found, str) == isinstance(against, str)
        return found is not None and same and sign(found, against)

    return test


def _reader(read: re.Match[str]) -> Callable[[Run], Any]:
    name = read["back"] or read["quoted"] or read["plain"]
    of = (read["of"] or "attributes").lower()
    of = _OF.get(of, of)
    if of == "metrics":
        return lambda run: run.metrics[name].last if name in run.metrics else None
    if of == "params":
        return lambda run: _text(run.params[name]) if name in run.params else None
    if of == "tags":
        return lambda run: {"mlflow.runName": run.name, **run.tags}.get(name)
    if of == "attributes":
        return lambda run: {"start_time": stamp(run.started_at), **run_out(run)["info"]}.get(name)
    raise BadRequest(f"filter: {of[:40]!r} is none of metrics, params, tags, attributes", param="filter")


def _like(found: Any, pattern: Any, flags: int) -> bool:
    written = "".join(".*" if part == "%" else re.escape(part) for part in re.split("(%)", str(pattern)))
    return re.fullmatch(written, str(found), flags | re.DOTALL) is not None


def _value(value: float | None) -> float | str:
    return "NaN" if value is None else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
