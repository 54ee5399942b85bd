"""Small sentence transformers as an engine: a BERT folder (safetensors, tokenizer) served as int8 by ONNX Runtime.

The program is `embedding_server`; this file loads no runtime.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from loopwright.core.errors import StartError
from loopwright.engines.bert import Shape, read_shape
from loopwright.engines.children import ENVIRONMENT, answers_health
from loopwright.engines.machine import Machine
from loopwright.engines.metrics import count, samples
from loopwright.engines.protocol import Fit, Load, Plan
from loopwright.kit.nearest import hint
from loopwright.kit.processes import Program
from loopwright.kit.settings import EngineSettings

_PROCESS_BYTES = 150_000_000  # Python, ONNX Runtime, tokenizer and one batch at work, measured
_ARGUMENTS = {"grace": 30.0}  # seconds that running requests may take to finish after SIGTERM
_MIB = 1 << 20


class Embedding:
    """Hosts one sentence transformer; texts of all requests are encoded in batches by length."""

    kind = "embedding"
    load_pages: tuple[str, ...] = ("/metrics",)

    def plan(self, name: str, settings: EngineSettings, machine: Machine) -> Plan:
        """See `Engine.plan`. `context` is the longest text; `slots` and `kv_type` mean nothing here."""
        folder = _folder(name, settings.source)
        try:
            shape = read_shape(folder)
        except (OSError, ValueError) as error:
            raise StartError(f"model {name!r}: {error}. The embedding engine hosts BERT folders") from error
        for missing in (file for file in ("model.safetensors", "tokenizer.json") if not (folder / file).is_file()):
            raise StartError(f"model {name!r}: {folder} lacks {missing}")
        unknown = next((key for key in settings.args if key not in _ARGUMENTS), None)
        if unknown is not None:
            raise StartError(f"model {name!r}: embedding knows no argument {unknown!r}{hint(unknown, _ARGUMENTS)}")
        context = settings.context or shape.positions
        if context > shape.positions:
            raise StartError(
                f"model {name!r} has {shape.positions} places; its context cannot be {context}. "
                f"Set engine.context to {shape.positions} or less"
            )
        threads = settings.threads or max(machine.cores - 1, 1)
        return Plan(
            name=name,
            kind=self.kind,
            fit=_fit(name, shape, machine, context, threads),
            operations=("embeddings", "rerank"),
            arguments={
                "name": name,
                "path": str(folder),
                "context": context,
                "threads": threads,
                **_ARGUMENTS,
                **settings.args,
            },
        )

    def program(self, plan: Plan, *, port: int, secret: str, log: Path) -> Program:
        """See `Engine.program`."""
        return Program(
            name=plan.name,
            command=[sys.executable, "-m", "loopwright.engines.embedding_server"],
            env={ENVIRONMENT: json.dumps({**plan.arguments, "port": port, "secret": secret})},
            log=log,
            ready=answers_health(port),
            grace=float(plan.arguments["grace"]) + 5.0,
            stage=1,
        )

    def load(self, pages: Mapping[str, bytes]) -> Load:
        """See `Engine.load`."""
        seen = samples(pages.get("/metrics", b""))
        return Load(
            queued=count(seen, "loopwright_engine_queued"),
            running=count(seen, "loopwright_engine_running"),
            prompt_tokens_total=count(seen, "loopwright_engine_prompt_tokens_total"),
        )


def _folder(name: str, source: str) -> Path:
    kind, _, where = source.partition(":")
    if kind != "file" or not where:
        raise StartError(f"model {name!r}: an engine needs `file:PATH`, not {source!r}")
    path = Path(where).expanduser()
    return path.parent if path.is_file() else path


def _fit(name: str, shape: Shape, machine: Machine, context: int, threads: int) -> Fit:
    matrices = shape.layers * (4 * shape.width**2 + 2 * shape.width * shape.feed_forward)
    weights = matrices + shape.vocabulary * shape.width + 4 * shape.positions * shape.width  # int8, places in f32
    building = 5 * weights  # the f32 file is mapped and its int8 copy made, then both are let go
    total = weights + building + _PROCESS_BYTES
    said = (
        f"{name}: weights {weights // _MIB} MiB (int8) + {building // _MIB} MiB while they are made + process "
        f"{_PROCESS_BYTES // _MIB} MiB = {total // _MIB} MiB; free for it: {machine.budget_bytes // _MIB:,} MiB"
    )
    if total > machine.budget_bytes:
        raise StartError(f"model {name!r} does not fit into memory.\n  {said}\n  Free memory or leave the model out.")
    return Fit(
        weights_bytes=weights,
        kv_bytes=0,
        compute_bytes=building + _PROCESS_BYTES,
        total_bytes=total,
        available_bytes=machine.budget_bytes,
        context=context,
        slots=1,
        threads=threads,
        kv_type="",
        explanation=said,
    )
