"""A whole house for the console's tests: real database, spool and drain, the scripted provider, a real server."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvicorn
from starlette.applications import Starlette

from loopwright.access.spending import charge
from loopwright.app import App, build
from loopwright.calls.drain import Drain
from loopwright.calls.record import Record
from loopwright.console.site import console
from loopwright.engines import endpoints
from loopwright.engines.endpoints import Endpoint
from loopwright.kit.db import Database
from loopwright.kit.ids import Ids
from loopwright.kit.migrations import migrate
from loopwright.kit.settings import (
    DatabaseSettings,
    EngineSettings,
    ModelCacheSettings,
    ModelSettings,
    PriceSettings,
    ProviderSettings,
    SemanticSettings,
    Settings,
    TargetSettings,
)
from loopwright.kit.settings_routes import HedgeSettings
from loopwright.rooms import ROOMS

T = TypeVar("T")
PAGES = (
    "/overview", "/dashboards", "/cost", "/drift", "/calls", "/playground", "/models", "/routes", "/cache", "/batches", "/budgets",
    "/keys", "/alerts", "/slos", "/prompts", "/new-prompt", "/reviews", "/memory", "/datasets", "/tasks", "/evaluations", "/judges", "/experiments",
    "/collections", "/help",
)  # fmt: skip
ATTACK = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>\"'><svg onload=window.hacked=1>{{7*7}}"
"""In every field that others write."""


@dataclass
class House:
    """A house that is served; its event loop runs in a thread of its own."""

    home: Path
    database_url: str
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    ids: Ids = field(default_factory=Ids)
    secrets: dict[str, str] = field(default_factory=dict)
    url: str = ""
    changed: Callable[[Settings], Settings] = replace

    def start(self, *, keys: bool = True) -> None:
        """Serve it; `keys` makes the first ones, and what else a fresh database lacks."""
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.app, self.drain = self.do(self._build(fresh=keys))
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        config = uvicorn.Config(Starlette(routes=console(self.app)), lifespan="off", log_config=None, access_log=False)
        self._server = uvicorn.Server(config)
        self._serving = asyncio.run_coroutine_threadsafe(self._server.serve(sockets=[listening]), self.loop)
        while not self._server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._serving.result(30)
        self.drain.close()
        self.do(self.app.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(30)
        self.loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    async def _build(self, *, fresh: bool) -> tuple[App, Drain]:
        db = await Database.open(self.database_url, size=2)
        await migrate(db, ROOMS)
        await db.close()
        endpoints.write(self.home, {"local": _engine()})
        app = await build(self.changed(_settings(self.home, self.database_url)))
        drain = Drain(app.db, self.home / "spool", app.settings.calls, charge=charge)
        if not fresh:
            return app, drain
        await app.projects.create("search")
        for name, project, admin in (
            ("boss", "default", True),
            ("clerk", "default", False),
            ("seeker", "search", False),
        ):
            _, self.secrets[name] = await app.keys.create(project, name, admin=admin)
        return app, drain

    def key_id(self, name: str) -> int:
        who = self.app.keys.find(self.secrets[name])
        assert who is not None
        return who.key_id

    def call(self, *, key: str = "clerk", ago: float = 60.0, question: str = "Say hello", **changes: Any) -> str:
        """Spool one call; `drained` stores it."""
        who = self.app.keys.find(self.secrets[key])
        assert who is not None
        started_ns = time.time_ns() - int(ago * 1e9)
        answer = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "Hello there"}}]}
        fields: dict[str, Any] = {
            "id": Ids().new(started_ns), "started_ns": started_ns, "project_id": who.project_id, "key_id": who.key_id,
            "operation": "chat", "model": "parrot", "target": "parrot", "provider": "fake", "outcome": "ok", "status": 200,
            "error_code": None, "error": None, "stream": False, "ttft_us": 120_000, "latency_us": 480_000,
            "input_tokens": 12, "output_tokens": 7, "cached_tokens": 0, "reasoning_tokens": 0, "usage_estimated": False,
            "cost_nano": 25_000, "price_source": "loopwright.yaml", "client": "pytest", "session": None,
            "trace_id": "ab" * 16, "span_id": "cd" * 8, "parent_id": None, "task": None, "variant": None,
            "prompt_version": None, "tags": {},
            "request": json.dumps({"model": "parrot", "messages": [{"role": "user", "content": question}]}).encode(),
            "answer": json.dumps(answer).encode(),
        }  # fmt: skip
        record = Record(**{**fields, **changes})
        self.loop.call_soon_threadsafe(self.app.spool.write, record)
        return record.id

    def hit(self, of: str, *, similarity: float | None = 0.93, **changes: Any) -> str:
        """Spool a call that the cache answered as it answered `of`."""
        tags = {"loopwright.cache": "hit" if similarity is None else "semantic-hit", "loopwright.cache_of": of}
        if similarity is not None:
            tags["loopwright.cache_similarity"] = f"{similarity:.4f}"
        fields = {"provider": "cache", "model": "lyrebird", "target": "lyrebird", "cost_nano": 0, "latency_us": 900}
        return self.call(**{**fields, "tags": {**tags, "loopwright.saved_usd": "0.004"}, **changes})

    def drained(self) -> None:
        async def all_of_it() -> None:
            while await self.drain.once():
                pass

        self.do(all_of_it())

    @contextmanager
    def client(self, key: str | None = None) -> Iterator[httpx.Client]:
        """A browser without scripts; signed in when a key is named."""
        headers = {"accept": "text/html"}
        with httpx.Client(base_url=self.url, follow_redirects=True, headers=headers, timeout=30) as client:
            if key is not None:
                fields = {"csrf": csrf(client.get("/sign-in")), "key": self.secrets[key]}
                answer = client.post("/sign-in", data=fields)
                assert answer.status_code == 200, answer.text
            yield client


def csrf(answer: httpx.Response) -> str:
    """The token of the first form of a page."""
    return answer.text.split('name="csrf" value="', 1)[1].split('"', 1)[0]


def _engine() -> Endpoint:
    return Endpoint(
        name="local",
        kind="llamacpp",
        url="http://127.0.0.1:9/v1",
        secret="engine-secret",
        operations=("chat",),
        context=2048,
        slots=4,
        fit="weights 98 MiB + KV 46 MiB = 144 MiB",
        healthy=True,
    )


def _settings(home: Path, database_url: str) -> Settings:
    script: dict[str, object] = {
        "answers": [
            {"match": "^attack", "text": ATTACK},
            {"match": "^fail", "error": {"code": "upstream_broke", "message": "it broke", "after": 1}, "text": "a b c"},
            {"match": "^refuse", "error": {"code": "rate_limit_exceeded", "message": "slow down"}},
            {"match": "^long", "text": "word " * 2000},
        ],
        "between": 0.02,
    }
    return Settings(
        home=home,
        database=DatabaseSettings(url=database_url, pool=4),
        providers={
            "fake": ProviderSettings(kind="scripted", args=script),
            "spare": ProviderSettings(kind="scripted", args={"answers": [{"text": "from the spare"}]}),
        },
        models={
            "parrot": ModelSettings(provider="fake", price=PriceSettings(input=1, output=2)),
            "mynah": ModelSettings(provider="fake"),
            "relay": ModelSettings(
                targets=(
                    TargetSettings(provider="fake", model="first", region="eu"),
                    TargetSettings(provider="spare", model="second"),
                ),
                hedge=HedgeSettings(after=30.0),
            ),
            "courier": ModelSettings(
                targets=(
                    TargetSettings(provider="fake", model="first", region="eu"),
                    TargetSettings(provider="spare", model="second"),
                ),
                aliases=("herald",),
            ),
            "lyrebird": ModelSettings(
                provider="spare",
                cache=ModelCacheSettings(semantic=SemanticSettings(embedder="nobody", threshold=0.9)),
                price=PriceSettings(input=1, output=2),
            ),
            "local": ModelSettings(engine=EngineSettings(source="file:/nowhere/weights.gguf"), operations=("chat",)),
        },
    )
