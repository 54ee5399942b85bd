"""The composition root: the only file that knows every room. Reads top to bottom as a request flows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from loopwright import routing
from loopwright.access.allowances import Allowances
from loopwright.access.audit import Audit
from loopwright.access.keys import Keys
from loopwright.access.limits import Limits
from loopwright.access.projects import Projects
from loopwright.batches.store import Batches
from loopwright.cache.cache import Cache
from loopwright.calls.query import Calls
from loopwright.calls.spool import Spool
from loopwright.calls.waiting import Waiting, waiting
from loopwright.catalog.models import Catalog, ModelCard
from loopwright.core.chat import Chat, Delta, Request
from loopwright.core.errors import NotFound, Unavailable
from loopwright.core.privacy import Privacy
from loopwright.core.who import Principal
from loopwright.engines import endpoints
from loopwright.engines.endpoints import Endpoint
from loopwright.engines.llamacpp_tokens import LlamaCppTokens
from loopwright.exports.due import Leaving
from loopwright.feedback.speaking import Speaking
from loopwright.gateway.admitted import Admitted
from loopwright.gateway.board import telling
from loopwright.gateway.cached import Cached, Policy, policies_of
from loopwright.gateway.confined import Confined
from loopwright.gateway.counted import Counted, Meters
from loopwright.gateway.embedder import Embedders
from loopwright.gateway.examined import Examiner
from loopwright.gateway.grounded import Grounded
from loopwright.gateway.guarded import Guarded, Policies
from loopwright.gateway.measured import Measured
from loopwright.gateway.prompted import Prompted
from loopwright.gateway.recollected import Recollected
from loopwright.gateway.recorded import Recorded
from loopwright.gateway.repeated import Repeated
from loopwright.gateway.route import Route
from loopwright.gateway.routed import Routed, Target
from loopwright.gateway.settled import Settled
from loopwright.gateway.tallied import PriceOf
from loopwright.guardrails.pii import find
from loopwright.kit.db import Database
from loopwright.kit.nearest import hint
from loopwright.kit.seal import Seal
from loopwright.kit.settings import Settings
from loopwright.kit.settings_privacy import PrivacySettings
from loopwright.monitoring.forgetting import forget_watched
from loopwright.monitoring.watchlist import forget_faults
from loopwright.prompts.weight import Scale
from loopwright.providers.protocol import Provider
from loopwright.recorder import cache_kept
from loopwright.retrieval.calibration import Calibrations
from loopwright.retrieval.search import Searcher
from loopwright.telemetry.intake import Intake
from loopwright.workshop import Workshop

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """One process of the house: every room, and the road of a request through them."""

    settings: Settings
    db: Database
    keys: Keys
    projects: Projects
    limits: Limits
    allowances: Allowances
    """What this worker holds of them."""
    audit: Audit
    calls: Calls
    catalog: Catalog
    known: tuple[ModelCard, ...]
    """The card of each configured model."""
    cache: Cache
    policies: Mapping[str, Policy]
    """Models whose answers are given again, by every name."""
    batches: Batches
    """And the files of projects, which they read and write."""
    workshop: Workshop
    """Prompts, tasks, datasets, evaluations, runs."""
    telemetry: Intake
    """Takes in what other programs tell of their calls."""
    search: Searcher
    """Finds passages in collections."""
    calibrations: Calibrations
    """How much evidence is enough, and weighing it."""
    spool: Spool
    meters: Meters
    """Counts calls for `/metrics`."""
    targets: Mapping[str, Target]
    """By every name that can be called."""
    routes: tuple[Route, ...]
    """What stands behind those names, each once."""
    chat: Chat
    """The whole road."""
    prompted: Prompted
    """Its outermost wrapper: makes plans of calls of tasks."""
    repeated: Repeated | None
    """Answers what comes again in the same bytes before the road begins; None where nothing is cached, or texts are guarded."""
    recorded: Recorded | Guarded
    """The next one, which also takes refusals at the door."""
    providers: tuple[Provider, ...]
    counters: Mapping[str, LlamaCppTokens]
    """Engines that count the tokens of a question, by the names they answer to."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def cards(self) -> list[dict[str, Any]]:
        """What is known of each model that can be called, as JSON; the path of its weights is nobody's business."""
        engines = self.engines()
        return [_shown(card, engines.get(card.name)) for card in self.known]

    def engines(self) -> Mapping[str, Endpoint]:
        """The local engines, as the supervisor last wrote of them."""
        return endpoints.read(self.settings.home)

    def scales(self, who: Principal) -> list[Scale]:
        """Models that chat and that `who` may call, to weigh a prompt with."""
        return [
            Scale(model=card.name, price=card.price, counter=self.counters.get(card.name))
            for card in self.known
            if "chat" in card.operations and who.may_call(card.name)
        ]

    def leads_to(self, model: str) -> str | None:
        """What the name of a model stands for now, to tell whether it is still the one it was; None is not known."""
        target = self.targets.get(model)
        return None if target is None else f"{target.provider}/{target.model}"

    @property
    def examiner(self) -> Examiner:
        """Tells whether tasks can be done here."""

        async def collection(project_id: int, name: str) -> str | None:
            try:
                await self.workshop.collections.get(project_id, name)
            except NotFound as error:
                return error.message
            return None

        return Examiner(
            worder=self.prompted.worder,
            models=self.targets,
            evaluator=self.workshop.ranking.check,
            collection=collection,
        )

    def keeps(self, who: Principal, model: str = "") -> bool:
        """Whether the texts of what a key asks (of `model`) may be kept: batches and evaluations are nothing else."""
        return not isinstance(self.recorded, Guarded) or self.recorded.policies.keeps(who, model)

    @property
    def speaking(self) -> Speaking:
        """Takes what is said of calls."""
        shop = self.workshop
        return Speaking(
            feedback=shop.feedback, find=self.calls.get, texts=self.settings.calls.payloads, learning=shop.memory
        )

    async def policy_of(self, project_id: int, model: str) -> Privacy | None:
        """The policy that texts of a project are under before a model that nobody asks anything now."""
        if not isinstance(self.recorded, Guarded):
            return None
        names = {project.id: project.name for project in await self.projects.list()}
        return self.recorded.policies.of_task(names.get(project_id, ""), "", [model])

    async def waiting(self) -> Waiting:
        """What is spooled on this machine and not yet in the database."""
        return await waiting(self.db, self.settings.home / "spool", self.calls.seal)

    async def forget(self, *, project_id: int | None, **named: Any) -> int:
        """Delete calls by `call_id`, `key_id`, `session` or `tag`, what the cache learnt of them and what was said; how many."""
        leaving = Leaving(self.db, self.settings.exports)
        mirrored = await leaving.note(project_id=project_id, **named)
        await self.cache.forget(project_id=project_id, **named, calls_stay=False)
        await self.workshop.memory.memory.forget(project_id=project_id, **named)
        await self.workshop.feedback.forget(project_id=project_id, **named)
        await self.telemetry.forget(project_id=project_id, **named)
        await forget_watched(self.db, project_id=project_id, **named)
        gone = await self.calls.delete(project_id=project_id, **named)
        await self.cache.forget(project_id=project_id, **named, calls_stay=False)  # for who fetched an answer meanwhile
        await forget_faults(self.db)
        # Again, for what was said while they went; before, so that nothing is left should this end in between.
        await self.workshop.feedback.forget(project_id=project_id, **named)
        await self.workshop.memory.memory.forget(project_id=project_id, **named)
        await leaving.over(mirrored)
        return gone

    async def watch(self) -> None:
        """Keep what is held in memory current until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.keys.watch())
            group.create_task(self.allowances.watch())
            group.create_task(self.cache.watch())
            group.create_task(self.workshop.watch())
            group.create_task(telling(self.db, UUID(self.spool.worker), self.routes))
            group.create_task(_tick(self.spool))

    async def close(self) -> None:
        """Let go of everything, the road first."""
        for provider in self.providers:
            await provider.close()
        for counter in set(self.counters.values()):
            await counter.close()
        await self.allowances.close()
        self.spool.close()
        self.meters.close()
        await self.db.close()


async def build(settings: Settings) -> App:
    """The house of one process. The supervisor has migrated the database and written where the engines answer.

    Raises:
        StartError: the database does not answer.
    """
    settings = routing.placed(settings)
    db = await Database.open(settings.database.url or "", size=settings.database.pool)
    keys = Keys(db)
    await keys.load()
    seal = Seal.of(settings.encryption)
    spool = Spool(settings.home / "spool", settings.calls.spool_limit, seal)
    allowances = Allowances(db, settings.limits, UUID(spool.worker))
    await allowances.load()
    catalog = Catalog(settings)
    routes, opened = routing.opened_routes(settings, catalog, endpoints.read(settings.home))
    targets = {name: each.target for name, each in routes.items()}
    guards = Policies(settings.privacy, catalog.configured())
    embeds = [name for name, target in targets.items() if "embeddings" in target.operations]
    workshop = await Workshop.open(db, settings, embedder_of=Embedders(targets), embeds=embeds, policies=guards)
    prices = routing.prices_of(routes, settings.privacy)
    price = routing.price_of(prices)
    calls = Calls(db, settings.calls, seal)
    cache = Cache(db, cache_kept(settings), seal, Recollected(calls))
    policies = policies_of(catalog.configured(), targets, settings.calls.retention_days)
    chat = _answering(settings, routes, cache, policies, price)
    counters = routing.counters(catalog, endpoints.read(settings.home))
    road = _Road()
    search = Searcher(db, seal, embedder=Embedders(targets), chat=road, memory=settings.collections.search_memory)
    calibrations = Calibrations(db, search, seal)
    chat = Grounded(inner=workshop.performed(chat, price), search=search, weigh=calibrations, sizes=Measured(counters))
    chat = admitted = Admitted(workshop.remembered(chat), allowances, routing.dearest(routes).get, settings.limits)
    meters = Meters.begin(settings.home / "metrics", targets, series=settings.monitoring.metrics.series)
    spooled = Settled(Counted(spool, meters), allowances)
    kept = Recorded(chat, spooled, price, payloads=settings.calls.payloads, alone=routing.alone(routes))
    recorded = Guarded(kept, guards) if settings.privacy.active else kept
    repeats = bool(policies) and not settings.privacy.active
    repeated = Repeated(cache, policies, admitted=admitted, recorded=kept) if repeats else None
    await _look_for_strangers(settings.privacy, Projects(db))
    prompted = road.whole = workshop.prompted(recorded, targets, settings)
    return App(
        settings=settings, db=db, keys=keys, projects=Projects(db), limits=Limits(db), allowances=allowances,
        audit=Audit(db), calls=calls, catalog=catalog,
        known=tuple(await asyncio.to_thread(catalog.cards)), cache=cache, policies=policies,
        batches=Batches.of(db, settings), workshop=workshop,
        telemetry=Intake.of(db, settings, spool, prices, guards.keeps), search=search, calibrations=calibrations,
        spool=spool, meters=meters, targets=targets, routes=tuple({each.name: each for each in routes.values()}.values()),
        chat=prompted, prompted=prompted, repeated=repeated, recorded=recorded, providers=opened, counters=counters,
    )  # fmt: skip


class _Road:
    """The whole road, for who stands on it: what rewrites and reranks is counted, recorded and allowed as any other call."""

    __slots__ = ("whole",)
    whole: Chat

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer from the beginning of the road."""
        return self.whole(request)


def _answering(
    settings: Settings,
    routes: Mapping[str, Route],
    cache: Cache,
    policies: Mapping[str, Policy],
    price: PriceOf,
) -> Chat:
    """What answers one request: routes; before them the cache; before that what keeps a request where it may be."""
    chat: Chat = Routed({name: each.target for name, each in routes.items()})
    if policies:
        chat = Cached(chat, cache, policies, price)
    if settings.privacy.active:
        chat = Confined(inner=chat, places=routing.places(routes), find=find)
    return chat


async def _look_for_strangers(privacy: PrivacySettings, projects: Projects) -> None:
    """Say which policies are for projects that are not there: they protect nobody."""
    if not privacy.projects:
        return
    known = {project.name for project in await projects.list()}
    for name in privacy.projects.keys() - known:
        _log.warning("privacy.projects.%s: there is no such project%s", name, hint(name, known))


def _shown(card: ModelCard, engine: Endpoint | None) -> dict[str, Any]:
    price = card.price
    shown = {**asdict(card), "price": None if price is None else str(price), "rates": price.rates() if price else {}}
    if engine is not None:
        # What the engine was given, not what the weights could do with more memory.
        shown |= {"context": engine.context, "supports_tools": engine.supports_tools}
    del shown["path"]
    return shown


async def _tick(spool: Spool) -> None:
    while True:
        await asyncio.sleep(5.0)
        with suppress(Unavailable):
            spool.tick()
