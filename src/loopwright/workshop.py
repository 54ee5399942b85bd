"""What makes answers better, put together: prompts, tasks, datasets, feedback, evaluations, runs. One field of the house.

Each room is a field; `api`, `console` and `cli` reach them as `app.workshop.<room>`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loopwright.access.projects import Projects
from loopwright.core.chat import Chat
from loopwright.core.privacy import Privacy
from loopwright.datasets.store import Datasets
from loopwright.evals.cards import Cards
from loopwright.evals.fitting import Fitting
from loopwright.evals.ranking import Ranking
from loopwright.evals.store import Evaluations
from loopwright.evals.tracked import Tracked
from loopwright.feedback.queues import Reviews
from loopwright.feedback.store import Feedback
from loopwright.feedback.turns import Turns
from loopwright.gateway.embedder import CalledEmbedder
from loopwright.gateway.guarded import Policies
from loopwright.gateway.performed import Performed
from loopwright.gateway.prompted import Entrance, Prompted
from loopwright.gateway.remembered import Remembered
from loopwright.gateway.routed import Target
from loopwright.gateway.tallied import PriceOf
from loopwright.gateway.worded import Worder
from loopwright.guardrails.moderation import Moderator
from loopwright.kit.db import Database
from loopwright.kit.ids import Ids
from loopwright.kit.schema import schema
from loopwright.kit.seal import Seal
from loopwright.kit.settings import Settings
from loopwright.kit.settings_tasks import MemorySettings
from loopwright.memory.form import Form
from loopwright.memory.held import Held as HeldMemory
from loopwright.memory.learning import EmbedderOf, Learning
from loopwright.memory.store import Memory
from loopwright.memory.tally import Tally
from loopwright.prompts.held import Held as HeldPrompts
from loopwright.prompts.store import Prompts
from loopwright.retrieval.evaluations import Evaluations as MeasuredSearches
from loopwright.retrieval.intake import Intake
from loopwright.retrieval.store import Collections
from loopwright.runs.store import Runs
from loopwright.tasks.held import Held as HeldTasks
from loopwright.tasks.store import Tasks
from loopwright.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """The rooms of the workshop, opened."""

    prompts: Prompts
    """The registry."""
    held_prompts: HeldPrompts
    """What this process keeps of it in memory."""
    tasks: Tasks
    """Those that are stored."""
    held_tasks: HeldTasks
    """All that can be called, in memory."""
    ranking: Ranking
    """Evaluators, for the best of several answers."""
    datasets: Datasets
    """Examples, in versions."""
    runs: Runs
    """Experiments and what was tried in them."""
    tracked: Tracked
    """Runs down to the example."""
    evaluations: Evaluations
    """Variants measured on datasets."""
    fitting: Fitting
    """What evaluations are given of the other rooms."""
    cards: Cards
    """Judges, and how far to trust them."""
    feedback: Feedback
    """Scores and corrections of calls."""
    turns: Turns
    """What people rate, and who rates what."""
    intake: Intake
    """Takes documents into collections."""
    measured: MeasuredSearches
    """How well collections are searched."""
    memory: Learning
    """Corrections, as they are shown to the next request that is like theirs."""

    @classmethod
    async def open(
        cls, db: Database, settings: Settings, *, embedder_of: EmbedderOf, embeds: Sequence[str], policies: Policies
    ) -> Workshop:
        """Every room over one database.

        `embedder_of` asks models, `embeds` are those that turn texts into vectors; `policies` say where texts may go.
        """
        runs = Runs.of(db, settings)
        seal, ids = Seal.of(settings.encryption), Ids()
        evaluations = Evaluations(db, settings.evaluations, seal)
        prompts = HeldPrompts(db, seal)
        await prompts.load()
        held = HeldTasks(db, settings.tasks, seal)
        await held.load()
        datasets = Datasets(db, seal=seal, most=settings.datasets.examples)

        async def policy_of(project_id: int, task: str) -> Privacy | None:
            if not settings.privacy.active:
                return None
            names = {project.id: project.name for project in await Projects(db).list()}
            variants = held.find(project_id, task).variants.values()
            asked = [model for variant in variants for model in variant.models]
            return policies.of_task(names.get(project_id, ""), task, asked)

        memory = Memory(db, seal)
        learning = Learning(
            memory=memory,
            held=HeldMemory(memory),
            tally=Tally(db),
            form_of=lambda project_id, task: form_of(held.find(project_id, task)),
            embedder_of=embedder_of,
            policy_of=policy_of,
        )
        await learning.held.load()
        return cls(
            prompts=Prompts(db, seal),
            held_prompts=prompts,
            tasks=Tasks(db, seal),
            held_tasks=held,
            ranking=Ranking(embedding=lambda chat, name: CalledEmbedder(chat, name, ids), embeds=embeds),
            datasets=datasets,
            runs=runs,
            tracked=Tracked(runs, evaluations),
            cards=Cards(db),
            evaluations=evaluations,
            fitting=Fitting(settings=settings.evaluations, cards=Cards(db), runs=runs, tasks=held),
            feedback=Feedback(db, seal),
            turns=Turns(Reviews(db, seal)),
            intake=Intake.of(db, settings, seal),
            measured=MeasuredSearches(db, seal),
            memory=learning,
        )

    @property
    def collections(self) -> Collections:
        """Documents that are searched."""
        return self.intake.store

    def prompted(self, inner: Entrance, models: Mapping[str, Target], settings: Settings) -> Prompted:
        """What assigns calls of tasks, before a road that can ask `models`."""
        return Prompted(
            inner=inner,
            find=self.held_tasks.find,
            worder=Worder(prompts=self.held_prompts),
            models=models,
            output_tokens=settings.limits.output_tokens,
        )

    def performed(self, inner: Chat, price: PriceOf) -> Performed:
        """What does calls of tasks, over the rest of the road."""
        return Performed(inner=inner, price=price, judge=Moderator().judge, rank=self.ranking)

    def remembered(self, inner: Chat) -> Remembered:
        """What shows calls of tasks what people corrected, over what does them."""
        memory = self.memory
        return Remembered(
            inner=inner, held=memory.held, tally=memory.tally, form_of=form_of, embedder_of=memory.embedder_of
        )

    async def watch(self) -> None:
        """Keep what is held in memory current until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.held_prompts.watch())
            group.create_task(self.held_tasks.watch())
            group.create_task(self.memory.watch())


def form_of(task: Task) -> Form:
    """What memory must know of a task."""
    told = next((variant.memory for variant in task.variants.values() if variant.memory is not None), MemorySettings())
    output = None if task.output_schema is None else schema(task.output_schema, "output")
    return Form(embedder=told.embedder, text_input=task.text_input, inputs=task.inputs, output=output)
