"""What a house can be told: defaults, then `loopwright.yaml`, then the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The one port everything is served on."""

    host: str = "127.0.0.1"
    port: int = 4100
    workers: int = 1
    body_limit: int = 20_000_000
    """Bytes of a request body; more is 413."""
    body_timeout: float = 60.0
    """Seconds a client may take to send its request."""
    drain_timeout: float = 30.0
    """Seconds that answers in flight may take to finish when stopping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """PostgreSQL with pgvector; without a URL the embedded one in the data folder."""

    url: str | None = None
    pool: int = 8
    """Connections each process may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds an upstream may take."""

    connect: float = 5.0
    first_token: float = 120.0
    between_tokens: float = 60.0
    total: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """A wire protocol to models elsewhere."""

    kind: str = "openai"
    """A plug-in of group `loopwright.providers`: `openai` (any OpenAI-compatible URL), `scripted`."""
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeouts: Timeouts = field(default_factory=Timeouts)
    args: Mapping[str, object] = field(default_factory=dict)
    """Arguments of the plug-in, e.g. `answers` of `scripted`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSettings:
    """An override of the bundled prices, in US dollars a million tokens."""

    input: float = 0.0
    output: float = 0.0
    cached: float | None = None
    cache_written: float | None = None
    request: float = 0.0
    """US dollars a call."""
    per_hour: float | None = None
    """US dollars an hour of a busy engine, shared by its slots."""
    as_of: str | None = None
    """Date of the price, ISO 8601."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How an engine hosts the weights; None is chosen from cores, memory and the model's geometry."""

    kind: str = "llamacpp"
    """A plug-in of group `loopwright.engines`: `llamacpp`, `embedding`."""
    source: str = ""
    """`package:NAME` (weights a Python package carries), `file:PATH`, or the name of a pulled model."""
    context: int | None = None
    """Tokens of prompt and answer for one request."""
    slots: int | None = None
    """Requests answered at once."""
    threads: int | None = None
    kv_type: Literal["f16", "q8_0", "q4_0"] | None = None
    args: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """A name that can be called: served by a provider or by an engine of ours, never both."""

    provider: str | None = None
    engine: EngineSettings | None = None
    model: str | None = None
    """The name upstream knows; by default its own."""
    operations: tuple[Literal["chat", "completion", "embeddings"], ...] = ("chat", "completion")
    price: PriceSettings | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsSettings:
    """What is remembered of calls, and for how long."""

    retention_days: int = 90
    """Days of calls and their texts; roll-ups stay."""
    payloads: bool = True
    """Keep prompts and answers."""
    full_text: bool = True
    spool_limit: int = 10_000_000_000
    """Bytes of undrained calls a machine may hold before new ones are refused with 503."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything, parsed and checked."""

    home: Path = Path(".loopwright")
    server: Server = field(default_factory=Server)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    providers: Mapping[str, ProviderSettings] = field(default_factory=dict)
    models: Mapping[str, ModelSettings] = field(default_factory=dict)
    calls: CallsSettings = field(default_factory=CallsSettings)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    file: Path | None = None
    """The `loopwright.yaml` it was read from."""
