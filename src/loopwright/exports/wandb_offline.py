"""Mirrors calls to offline runs of Weights & Biases, written by its own library. Nothing is sent: `wandb sync` does that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import wandb

from loopwright.core.errors import SettingsError
from loopwright.exports.exporter import Said
from loopwright.exports.outgoing import Outgoing


class WandbOffline:
    """A run for each day (UTC) and start of the mirror; a call is a row of its history, so is a score that came later.

    Args:
        folder: in which `wandb/offline-run-…` are made.
        project: the project they are told to be of.
        texts: as the settings say: whether rows have `input` and `output`.
    """

    def __init__(self, folder: str = "", project: str = "loopwright", *, texts: bool = False) -> None:
        if not folder:
            raise SettingsError("exporters 'wandb': `folder` is missing in args")
        self._folder = Path(folder)
        self._project = project
        self._texts = texts
        self._run: Any = None
        self._day: date | None = None
        self._begun: set[bytes] = set()
        """Rows of an attempt that broke off: the next one begins with the first that is not written."""

    async def send(self, calls: Sequence[Outgoing]) -> None:
        """See `Exporter`."""
        await asyncio.to_thread(self._log, [self._row(each) for each in calls])

    async def score(self, said: Sequence[Said]) -> None:
        """See `Exporter`."""
        rows = []
        for each in said:
            value = next(
                (each.score[name] for name in ("value", "label", "passed") if each.score[name] is not None), None
            )
            rows.append({"call_id": each.call.id, f"score/{each.score['name']}": value})
        await asyncio.to_thread(self._log, rows)

    async def forget(self, _traces: Sequence[str]) -> int:
        """What is in such a file stays there."""
        return 0

    async def close(self) -> None:
        """Finish the run."""
        await asyncio.to_thread(self._finish)

    def _row(self, each: Outgoing) -> dict[str, Any]:
        call = each.detail.call
        row: dict[str, Any] = {
            "call_id": call.id, "trace_id": call.trace_id, "started_at": call.started_at.timestamp(),
            "model": call.model, "target": call.target, "provider": call.provider, "operation": call.operation,
            "outcome": call.outcome, "task": call.task, "variant": call.variant, "session": call.session,
            "latency_ms": call.latency_us / 1e3, "ttft_ms": None if call.ttft_us is None else call.ttft_us / 1e3,
            "input_tokens": call.input_tokens, "output_tokens": call.output_tokens,
            "cost_usd": None if call.cost_nano is None else call.cost_nano / 1e9,
        }  # fmt: skip
        row |= {f"tag/{name}": value for name, value in call.tags.items()}
        row |= {f"score/{said['name']}": said["value"] for said in each.scores if said["value"] is not None}
        if self._texts:
            row["input"] = _json(each.detail.request)
            row["output"] = _json(each.detail.response)
        return {name: value for name, value in row.items() if value is not None}

    def _log(self, rows: Sequence[dict[str, Any]]) -> None:
        today = datetime.now(UTC).date()
        if self._day != today:
            self._finish()
        if self._run is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._run = wandb.init(
                mode="offline",
                dir=str(self._folder),
                project=self._project,
                name=f"calls {today.isoformat()}",
                job_type="calls",
                reinit="create_new",
                settings=wandb.Settings(
                    silent=True,
                    console="off",
                    disable_git=True,
                    disable_code=True,
                    x_disable_stats=True,
                    x_disable_meta=True,
                ),
            )
            self._day = today
        for row in rows:
            mark = blake2b(repr(row).encode("utf-8", "replace"), digest_size=16).digest()
            if mark not in self._begun:
                self._run.log(row)
                self._begun.add(mark)
        self._begun.clear()

    def _finish(self) -> None:
        if self._run is not None:
            self._run.finish()
            self._run = None


def _json(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
