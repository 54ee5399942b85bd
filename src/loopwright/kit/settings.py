"""What a house can be told: defaults, then `loopwright.yaml`, then the environment.

The docstring under a field is its line in `docs/configuration.md`; the marks in its type say what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """The lowest and the highest number allowed, both included; None is without bound."""

    low: float | None = None
    high: float | None = None
    unit: Literal["", "bytes", "seconds"] = ""
    """Allows `20MB` where bytes and `2m` where seconds are meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """The value is a secret: no message ever shows it."""


Seconds = Annotated[float, Between(low=0.001, high=86_400, unit="seconds")]
Port = Annotated[int, Between(low=0, high=65_535)]
Positive = Annotated[int, Between(low=1)]
Dollars = Annotated[float, Between(low=0)]
Secret = Annotated[str, Hidden()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The one port everything is served on."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` opens it to other machines."""
    port: Port = 4100
    """TCP port of the endpoint, the API and the console; 0 takes a free one."""
    workers: Annotated[int, Between(low=1, high=256)] = 1
    """Gateway processes that share the port."""
    body_limit: Annotated[int, Between(low=1_000, high=2_000_000_000, unit="bytes")] = 20_000_000
    """Bytes of a request body; more is 413."""
    body_timeout: Seconds = 60.0
    """Seconds a client may take to send its request."""
    drain_timeout: Seconds = 30.0
    """Seconds that answers in flight may take to finish when stopping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """PostgreSQL with pgvector; without a URL the embedded one in the data folder."""

    url: Secret | None = field(default=None, repr=False)
    """`postgresql://user:password@host:5432/name`; without one the embedded PostgreSQL is started."""
    pool: Annotated[int, Between(low=1, high=1_000)] = 8
    """Connections each process may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds an upstream may take."""

    connect: Seconds = 5.0
    """Until the connection is made."""
    first_token: Seconds = 120.0
    """From the request to the first piece of the answer."""
    between_tokens: Seconds = 60.0
    """Between two pieces of a streamed answer."""
    total: Seconds = 600.0
    """For the whole answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """A wire protocol to models elsewhere."""

    kind: str = "openai"
    """A plug-in of group `loopwright.providers`: `openai` (any OpenAI-compatible URL), `scripted`."""
    base_url: str | None = None
    """Where it answers, with the version path: `https://api.example.com/v1`."""
    api_key: Secret | None = field(default=None, repr=False)
    """Sent as `Authorization: Bearer`; better `${NAME}` than the key itself."""
    headers: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    """Further headers of every request."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    """How long to wait for it."""
    args: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Arguments of the plug-in, e.g. `answers` of `scripted`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSettings:
    """An override of the bundled prices, in US dollars a million tokens."""

    input: Dollars = 0.0
    """US dollars a million prompt tokens."""
    output: Dollars = 0.0
    """US dollars a million tokens of answer."""
    cached: Dollars | None = None
    """US dollars a million prompt tokens read from the provider's cache; without it, as `input`."""
    cache_written: Dollars | None = None
    """US dollars a million prompt tokens written to the provider's cache; without it, as `input`."""
    request: Dollars = 0.0
    """US dollars a call."""
    per_hour: Dollars | None = None
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
    context: Annotated[int, Between(low=16, high=100_000_000)] | None = None
    """Tokens of prompt and answer for one request."""
    slots: Annotated[int, Between(low=1, high=4_096)] | None = None
    """Requests answered at once."""
    threads: Annotated[int, Between(low=1, high=4_096)] | None = None
    """Processor threads the engine computes with."""
    kv_type: Literal["f16", "q8_0", "q4_0"] | None = None
    """Number format of the KV cache: smaller holds more tokens, at some loss."""
    args: Mapping[str, object] = field(default_factory=dict)
    """Arguments of the plug-in, handed on as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """A name that can be called: served by a provider or by an engine of ours, never both."""

    provider: str | None = None
    """Name of an entry under `providers`."""
    engine: EngineSettings | None = None
    """An engine process of ours that hosts it."""
    model: str | None = None
    """The name upstream knows; by default its own."""
    operations: tuple[Literal["chat", "completion", "embeddings"], ...] = ("chat", "completion")
    """What it can be asked for."""
    price: PriceSettings | None = None
    """What it costs; without it the bundled prices apply, and a model they lack is shown as unpriced."""
    aliases: tuple[str, ...] = ()
    """Further names that call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsSettings:
    """What is remembered of calls, and for how long."""

    retention_days: Annotated[int, Between(low=1, high=36_500)] = 90
    """Days of calls and their texts; roll-ups stay."""
    payloads: bool = True
    """Keep prompts and answers."""
    full_text: bool = True
    """Index the words of prompts and answers for search."""
    spool_limit: Annotated[int, Between(low=1_000_000, high=10**15, unit="bytes")] = 10_000_000_000
    """Bytes of undrained calls a machine may hold before new ones are refused with 503."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything, parsed and checked."""

    home: Path = Path(".loopwright")
    """Data folder; relative to where Loopwright is started."""
    server: Server = field(default_factory=Server)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    providers: Mapping[str, ProviderSettings] = field(default_factory=dict)
    models: Mapping[str, ModelSettings] = field(default_factory=dict)
    calls: CallsSettings = field(default_factory=CallsSettings)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much the processes log."""
    file: Path | None = field(default=None, metadata={"told": False})
    """The `loopwright.yaml` it was read from."""
