"""llama.cpp as an engine: what a GGUF file needs of this machine, and the program that serves it.

The program is `llamacpp_server`; this file never loads the library.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loopwright.core.errors import StartError
from loopwright.engines.adapters import read_adapters
from loopwright.engines.children import ENVIRONMENT, answers_health
from loopwright.engines.machine import Machine
from loopwright.engines.metrics import count, samples
from loopwright.engines.protocol import Fit, Load, Plan
from loopwright.kit.geometry import Geometry, compute_bytes, kv_bytes, kv_bytes_per_token
from loopwright.kit.gguf import Header, NotGguf, read, renders_tools
from loopwright.kit.nearest import hint
from loopwright.kit.processes import Program
from loopwright.kit.settings import EngineSettings

_PROCESS_BYTES = 120_000_000  # Python, the library and its threads, measured
_CONTEXT = 4_096  # default tokens for one request; longer ones are asked for
_SHORTEST = 512
_ARGUMENTS = {
    "batch": 512,  # prompt tokens processed at once: more is faster, and makes running answers stall longer
    "prompt_cache_mib": 64,  # prefixes of finished requests kept outside the slots
    "chat_template": "",  # Jinja, in place of the file's own
    "grace": 30.0,  # seconds that running answers may take to finish after SIGTERM
}
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """One way to lay the model out in memory."""

    context: int
    slots: int
    kv_type: str
    kv: int
    compute: int
    total: int


class LlamaCpp:
    """Hosts GGUF weights with llama.cpp's own OpenAI server, one process for each model."""

    kind = "llamacpp"
    load_pages: tuple[str, ...] = ("/metrics", "/slots")

    def plan(self, name: str, settings: EngineSettings, machine: Machine) -> Plan:
        """See `Engine.plan`."""
        header = _header(name, settings.source)
        geometry = header.geometry()
        extra = _arguments(name, settings)
        adapters = read_adapters(name, header, settings.adapters)
        header = replace(header, weights_bytes=header.weights_bytes + sum(a.weights_bytes for a in adapters.values()))
        if settings.context is not None and settings.context > geometry.context:
            raise StartError(
                f"model {name!r} was trained for {geometry.context:,} tokens; its context cannot be {settings.context:,}. "
                f"Set engine.context to {geometry.context} or less"
            )
        threads = settings.threads or max(machine.cores - 1, 1)
        budget = machine.budget_bytes
        choices = _choices(header, geometry, settings, machine, extra)
        chosen = next((choice for choice in choices if choice.total <= budget), None)
        if chosen is None:
            raise StartError(_refusal(name, header, geometry, settings, choices, machine, extra))
        own = str(extra["chat_template"])
        template = own or header.chat_template
        tools = renders_tools(own) if own else header.renders_tools
        fit = Fit(
            weights_bytes=header.weights_bytes,
            kv_bytes=chosen.kv,
            compute_bytes=chosen.compute,
            total_bytes=chosen.total,
            available_bytes=budget,
            context=chosen.context,
            slots=chosen.slots,
            threads=threads,
            kv_type=chosen.kv_type,
            explanation=_arithmetic(name, header, geometry, chosen, machine),
        )
        notes = [] if template else ["The weights carry no chat template (a base model): completions only."]
        if template and not tools:
            notes.append("The chat template does not render tools: llama.cpp would drop them without a word.")
        if adapters:
            notes.append(f"Adapters: {', '.join(adapters)}. llama.cpp's cache of finished prompts is off beside them.")
        return Plan(
            name=name,
            kind=self.kind,
            fit=fit,
            operations=("chat", "completion") if template else ("completion",),
            supports_tools=bool(template) and tools,
            notes=tuple(notes),
            adapters={each: settings.adapters[each].scale for each in adapters},
            arguments={
                "name": name,
                "path": str(header.path),
                "context": chosen.context,
                "slots": chosen.slots,
                "threads": threads,
                "kv_type": chosen.kv_type,
                "flash": geometry.quantizes(),
                "adapters": [str(adapter.path) for adapter in adapters.values()],
                **extra,
            },
        )

    def program(self, plan: Plan, *, port: int, secret: str, log: Path) -> Program:
        """See `Engine.program`."""
        told = {**plan.arguments, "port": port, "secret": secret}
        return Program(
            name=plan.name,
            command=[sys.executable, "-m", "loopwright.engines.llamacpp_server"],
            env={ENVIRONMENT: json.dumps(told)},
            log=log,
            ready=answers_health(port),
            grace=float(plan.arguments["grace"]) + 5.0,
            stage=1,
        )

    def load(self, pages: Mapping[str, bytes]) -> Load:
        """See `Engine.load`."""
        seen = samples(pages.get("/metrics", b""))
        cached = count(seen, "llamacpp:prompt_tokens_cached_total")
        return Load(
            queued=count(seen, "llamacpp:requests_deferred"),
            running=count(seen, "llamacpp:requests_processing"),
            kv_used_share=_used_share(pages.get("/slots", b"")),
            prompt_tokens_total=count(seen, "llamacpp:prompt_tokens_total") + cached,
            generated_tokens_total=count(seen, "llamacpp:tokens_predicted_total"),
            cached_tokens_total=cached,
        )


def _header(name: str, source: str) -> Header:
    kind, _, where = source.partition(":")
    if kind != "file" or not where:
        raise StartError(f"model {name!r}: an engine needs `file:PATH`, not {source!r}")
    path = Path(where).expanduser()
    try:
        header = read(path)
        header.geometry()
    except NotGguf as error:
        raise StartError(f"model {name!r}: {error}. llamacpp hosts GGUF files") from error
    except OSError as error:
        raise StartError(f"model {name!r}: cannot read {path}: {error.strerror or error}") from error
    held = sum(part.stat().st_size for part in _parts(path))
    if held < header.weights_bytes:
        raise StartError(
            f"model {name!r}: {path} holds {held:,} bytes but describes {header.weights_bytes:,} bytes of weights: "
            "it is cut off. Fetch it again"
        )
    return header


def _parts(path: Path) -> list[Path]:
    prefix, marker, rest = path.name.partition("-00001-of-")
    return sorted(path.parent.glob(f"{prefix}-*-of-{rest}")) if marker else [path]


def _arguments(name: str, settings: EngineSettings) -> dict[str, Any]:
    args = settings.args
    for key, value in args.items():
        if key not in _ARGUMENTS:
            raise StartError(f"model {name!r}: llamacpp knows no argument {key!r}{hint(key, _ARGUMENTS)}")
        wanted = type(_ARGUMENTS[key])
        number = wanted is not str
        if not isinstance(value, (int, float) if wanted is float else wanted) or isinstance(value, bool):
            raise StartError(
                f"model {name!r}: argument {key} must be {'a number' if number else 'a text'}, not {value!r}"
            )
        if isinstance(value, int | float) and value < (32 if key == "batch" else 0):
            raise StartError(f"model {name!r}: argument {key} is too small: {value!r}")
    if not settings.adapters:
        return {**_ARGUMENTS, **args}
    if args.get("prompt_cache_mib"):
        raise StartError(
            f"model {name!r}: argument prompt_cache_mib must be 0 beside adapters: llama.cpp's cache of finished prompts "
            "does not tell what was read with which. Leave it out"
        )
    return {**_ARGUMENTS, **args, "prompt_cache_mib": 0}


def _choices(
    header: Header, geometry: Geometry, settings: EngineSettings, machine: Machine, extra: Mapping[str, Any]
) -> list[_Choice]:
    """Layouts from the most generous to the least; what the user set stays as it is."""
    kv_type = settings.kv_type or ("q8_0" if geometry.quantizes() else "f16")
    if kv_type != "f16" and not geometry.quantizes():
        raise StartError(
            f"keys and values of {header.path.name} cannot be stored as {kv_type}: its heads are no multiple of 32. "
            "Set engine.kv_type to f16"
        )
    context = settings.context or min(geometry.context, _CONTEXT)
    slots = settings.slots or min(max(4 * machine.cores, 4), 16)
    layouts = [(context, slots)]
    while True:  # fewer slots down to two, then a shorter context, then a single slot
        if settings.slots is None and slots > 2:
            slots //= 2
        elif settings.context is None and context > 2 * _SHORTEST:
            context //= 2
        elif settings.slots is None and slots > 1:
            slots = 1
        elif settings.context is None and context > _SHORTEST:
            context = _SHORTEST
        else:
            break
        layouts.append((context, slots))
    return [_layout(header, geometry, context, slots, kv_type, extra) for context, slots in layouts]


def _layout(
    header: Header, geometry: Geometry, context: int, slots: int, kv_type: str, extra: Mapping[str, Any]
) -> _Choice:
    batch = int(extra["batch"])
    kv = kv_bytes(geometry, context=context, slots=slots, kv_type=kv_type, batch=batch)
    compute = (
        compute_bytes(geometry, batch=batch, context=context, flash=geometry.quantizes())
        + int(extra["prompt_cache_mib"]) * _MIB
        + _PROCESS_BYTES
    )
    return _Choice(
        context=context,
        slots=slots,
        kv_type=kv_type,
        kv=kv,
        compute=compute,
        total=header.weights_bytes + kv + compute,
    )


def _arithmetic(name: str, header: Header, geometry: Geometry, choice: _Choice, machine: Machine) -> str:
    each = kv_bytes_per_token(geometry, choice.kv_type)
    windowed = any(layer.window for layer in geometry.layers)
    return (
        f"{name}: weights {_size(header.weights_bytes)} ({header.parameters / 1e6:,.0f} M parameters, "
        f"{header.quantization or 'unknown format'}) + keys and values {_size(choice.kv)} ({choice.slots} slots of "
        f"{choice.context:,} tokens, {each:,} bytes a token at {choice.kv_type}"
        f"{', sliding windows counted' if windowed else ''}) + working memory {_size(choice.compute)} "
        f"= {_size(choice.total)}; free for it: {_size(machine.budget_bytes)} "
        f"({_size(machine.available_bytes)} available less {_size(machine.reserve_bytes)} kept for the rest)"
    )


def _refusal(
    name: str,
    header: Header,
    geometry: Geometry,
    settings: EngineSettings,
    choices: list[_Choice],
    machine: Machine,
    extra: Mapping[str, Any],
) -> str:
    """Why nothing fits, and what would."""
    lines = [
        f"model {name!r} does not fit into memory.",
        f"  {_arithmetic(name, header, geometry, choices[-1], machine)}",
    ]
    free = EngineSettings(source=settings.source)
    smaller = _choices(header, geometry, free, machine, extra)
    if geometry.quantizes():
        smaller += [_layout(header, geometry, c.context, c.slots, "q4_0", extra) for c in smaller]
    fits = next((choice for choice in smaller if choice.total <= machine.budget_bytes), None)
    if fits is None:
        lines.append(
            f"  No smaller context helps: the least it needs is {_size(min(c.total for c in smaller))}. "
            "Free memory, or choose a smaller model or a smaller quantisation of this one."
        )
    else:
        lines.append(
            f"  This would fit ({_size(fits.total)}): engine.context {fits.context}, engine.slots {fits.slots}, "
            f"engine.kv_type {fits.kv_type}."
        )
    return "\n".join(lines)


def _size(count: int) -> str:
    return f"{count / _MIB:,.0f} MiB" if abs(count) < 10 * 1024 * _MIB else f"{count / 1024 / _MIB:,.1f} GiB"


def _used_share(body: bytes) -> float | None:
    """Tokens that running requests hold, of the tokens all slots have room for."""
    try:
        slots = json.loads(body or b"null")
    except ValueError:
        return None
    if not isinstance(slots, list) or not slots:
        return None
    room = sum(slot.get("n_ctx", 0) for slot in slots)
    held = sum(slot.get("n_prompt_tokens", 0) for slot in slots if slot.get("is_processing"))
    return min(held / room, 1.0) if room else None
