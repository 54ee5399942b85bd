"""What a house can be told: defaults, then `loopwright.yaml`, then the environment.

The docstring under a field is its line in `docs/configuration.md`; the marks in its type say what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from loopwright.kit.settings_adapters import AdapterSettings
from loopwright.kit.settings_batches import BatchSettings, FileSettings
from loopwright.kit.settings_collections import CollectionSettings
from loopwright.kit.settings_datasets import DatasetSettings
from loopwright.kit.settings_encryption import EncryptionSettings
from loopwright.kit.settings_evals import EvaluationSettings
from loopwright.kit.settings_exports import ExportSettings
from loopwright.kit.settings_marks import Between, Dollars, Port, Positive, Seconds, Secret
from loopwright.kit.settings_monitoring import MonitoringSettings
from loopwright.kit.settings_privacy import PrivacySettings
from loopwright.kit.settings_routes import (
    BreakerSettings,
    CascadeSettings,
    HedgeSettings,
    QueueSettings,
    RetrySettings,
)
from loopwright.kit.settings_tasks import TaskSettings


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
    rerank_documents: Annotated[int, Between(low=1, high=10_000)] = 1_000
    """Documents of one reranking; more is 400."""
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


PresetName = Literal[
    "anthropic", "azure", "azure-v1", "bedrock", "cerebras", "cohere", "deepinfra", "deepseek", "fireworks", "gemini",
    "groq", "huggingface", "jina", "llamacpp", "lmstudio", "mistral", "moonshot", "nvidia", "ollama", "openai",
    "openrouter", "perplexity", "sambanova", "sglang", "tei", "tgi", "together", "vllm", "voyage", "xai",
]  # fmt: skip
"""The names in `providers/presets.yaml`, which a test holds to be the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """A wire protocol to models elsewhere."""

    kind: str = "openai"
    """A plug-in of group `loopwright.providers`: `openai` (any OpenAI-compatible URL), `anthropic`, `gemini`, `bedrock`, `scripted`."""
    preset: PresetName | None = None
    """What is known of a well-known place: URL, form of the key, quirks. Without a `base_url`, the entry's own name."""
    base_url: str | None = None
    """Where it answers, with the version path: `https://api.example.com/v1`; without one, the preset's."""
    api_key: Secret | None = field(default=None, repr=False)
    """Sent as the preset says, else as `Authorization: Bearer`; better `${NAME}` than the key itself."""
    region: str | None = None
    """Where it is, for policies of privacy: `eu`, `us-east-1`; of `bedrock` also the AWS region."""
    own: bool = False
    """A server of ours, such as vLLM on our own machines: counts as `own` in policies of privacy."""
    aws_access_key_id: str | None = None
    """Of `bedrock`; without it (and without `api_key`) what AWS's own tools find is used."""
    aws_secret_access_key: Secret | None = field(default=None, repr=False)
    """Of `bedrock`, with `aws_access_key_id`."""
    aws_session_token: Secret | None = field(default=None, repr=False)
    """Of `bedrock`, for temporary keys."""
    aws_profile: str | None = None
    """Profile in AWS's shared files that `bedrock` takes its credentials from."""
    headers: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    """Further headers of every request."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    """How long to wait for it."""
    link_local: bool = False
    """Let it be at a link-local or metadata address (`169.254.169.254` …), where clouds hand out credentials."""
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
    adapters: Mapping[str, AdapterSettings] = field(default_factory=dict)
    """LoRA files beside the weights, by name; a variant's `adapter` names one. Of `llamacpp`."""
    args: Mapping[str, object] = field(default_factory=dict)
    """Arguments of the plug-in, handed on as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSettings:
    """One of several places that answer for a name: at a provider, or an engine of ours."""

    provider: str | None = None
    """Name of an entry under `providers`."""
    engine_model: str | None = None
    """Name of another entry under `models` that has an `engine`."""
    model: str | None = None
    """The name the provider knows; by default the name that is called."""
    weight: Annotated[float, Between(low=0, high=1_000_000)] = 1.0
    """Its share for `weighted` and `sticky`, its size for `least-busy`; 0 is asked only when others cannot be."""
    region: str | None = None
    """Where it is, for people and policies of privacy; without it, the provider's region."""
    price: PriceSettings | None = None
    """What it costs; without it the bundled prices apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactSettings:
    """Which requests the cache answers by their own words."""

    any: bool = False
    """Also those whose answer is meant to vary: neither temperature 0 nor a seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticSettings:
    """Hits by likeness: another wording of the last user message, everything else the same."""

    embedder: str = ""
    """Name of a model that makes embeddings."""
    threshold: Annotated[float, Between(low=0.5, high=1)] = 0.98
    """Cosine two messages must have at least; reports of wrong hits raise it. What others bring: docs/cache.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCacheSettings:
    """Gives an answer again when the same is asked in the same project; not set is off."""

    ttl: Annotated[float, Between(low=1, high=31_536_000, unit="seconds")] = 86_400.0
    """How long an answer is good; never longer than calls are kept."""
    truncated: bool = False
    """Also answers that ended at their length limit."""
    exact: ExactSettings = field(default_factory=ExactSettings)
    """Which requests."""
    semantic: SemanticSettings | None = None
    """Also hits by likeness; not set is off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """A name that can be called: served by a provider, by an engine of ours, or by several targets."""

    provider: str | None = None
    """Name of an entry under `providers`."""
    engine: EngineSettings | None = None
    """An engine process of ours that hosts it."""
    model: str | None = None
    """The name upstream knows; by default its own."""
    operations: tuple[Literal["chat", "completion", "embeddings", "moderations", "rerank"], ...] = (
        "chat",
        "completion",
    )
    """What it can be asked for."""
    price: PriceSettings | None = None
    """What it costs; without it the bundled prices apply, and a model they lack is shown as unpriced."""
    aliases: tuple[str, ...] = ()
    """Further names that call it."""
    schemas: Literal["native", "asked"] | None = None
    """Who keeps an answer to a JSON schema: the model's own decoder, or the prompt; checked always."""
    tools: Literal["native", "emulated"] | None = None
    """Who makes tool calls: the model itself, or Loopwright by a schema; not set is found out for local models."""
    targets: tuple[TargetSettings, ...] = ()
    """Several places that answer, instead of `provider` or `engine`."""
    strategy: Literal["fallback", "weighted", "least-latency", "least-cost", "least-busy", "sticky"] = "fallback"
    """Which of `targets` is asked first; the others follow when it fails."""
    retries: RetrySettings | None = None
    """Further attempts after a failure; with `targets`, by default those of an empty section, otherwise none."""
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    """When a target is left alone; holds for routes with `targets` or `retries`."""
    concurrency: Positive | None = None
    """Answers at once of each target, in each gateway process; not set is without limit."""
    queue: QueueSettings = field(default_factory=QueueSettings)
    """Who waits when `concurrency` is reached."""
    hedge: HedgeSettings | None = None
    """A second attempt when the first is slow."""
    cascade: CascadeSettings | None = None
    """Ask the first target, and the others only if its answer will not do."""
    deadline: Seconds | None = None
    """For the whole answer with all its attempts; a request may set a shorter one by `x-loopwright-timeout`."""

    cache: ModelCacheSettings | None = None
    """Answers given again; not set is off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """Where answers are held that models with a `cache` give again."""

    memory: Annotated[int, Between(low=0, high=10**12, unit="bytes")] = 64_000_000
    """Bytes each gateway process holds; what was used last stays."""
    entry: Annotated[int, Between(low=1_000, high=100_000_000, unit="bytes")] = 1_000_000
    """Bytes of an answer; a longer one is not kept."""
    shared: bool = True
    """Keep answers in the database, too, for other processes and machines and after a restart."""
    storage: Annotated[int, Between(low=0, high=10**15, unit="bytes")] = 1_000_000_000
    """Bytes kept in the database of answers that do not lie with their calls; the oldest go first, every ten minutes."""
    pending: Annotated[int, Between(low=0, high=10**12, unit="bytes")] = 16_000_000
    """Bytes a process may hold for a database that is slow or away; what is over is not shared."""


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
class LimitSettings:
    """How limits and budgets are kept. What they are is set by `loopwright limits` or `PUT /api/limits`."""

    on_outage: Literal["admit", "refuse"] = "admit"
    """Without the database: go on with what a worker last held, or `outage_grace` if that is more; or refuse (503)."""
    outage_grace: Annotated[float, Between(low=0, high=1)] = 0.1
    """Part of a limit that each worker may use while the database is away."""
    lease: Annotated[float, Between(low=1, high=3_600, unit="seconds")] = 15.0
    """Seconds after which what a dead worker held is free again."""
    wait: Seconds = 0.5
    """Seconds a request may wait for the database, or for other workers to return what they do not need."""
    output_tokens: Positive = 1_024
    """Tokens of answer that are reserved for a request that sets no maximum."""
    unpriced: Literal["admit", "refuse"] = "admit"
    """What becomes of calls of models without a price where a budget holds: they count as nothing, or are refused."""


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
    encryption: EncryptionSettings = field(default_factory=EncryptionSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    files: FileSettings = field(default_factory=FileSettings)
    batches: BatchSettings = field(default_factory=BatchSettings)
    datasets: DatasetSettings = field(default_factory=DatasetSettings)
    evaluations: EvaluationSettings = field(default_factory=EvaluationSettings)
    collections: CollectionSettings = field(default_factory=CollectionSettings)
    monitoring: MonitoringSettings = field(default_factory=MonitoringSettings)
    exports: Mapping[str, ExportSettings] = field(default_factory=dict)
    """Places that calls are mirrored to, each by a name."""
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    tasks: Mapping[str, TaskSettings] = field(default_factory=dict)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much the processes log."""
    file: Path | None = field(default=None, metadata={"told": False})
    """The `loopwright.yaml` it was read from."""
