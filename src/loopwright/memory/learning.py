"""Makes corrections into memory: an entry at once, its vector in the same breath or, where the embedder is away, soon."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from loopwright.core.call import Call, CallDetail
from loopwright.core.chat import Embedder
from loopwright.core.errors import BadRequest, LoopwrightError, Unavailable, UnknownModel
from loopwright.core.privacy import Privacy
from loopwright.core.score import Score
from loopwright.kit.db import Connection
from loopwright.memory import effect
from loopwright.memory.conflicts import Conflicts
from loopwright.memory.entry import Lesson, text_of
from loopwright.memory.form import Form, FormOf
from loopwright.memory.held import Held
from loopwright.memory.store import ACTIVE, COLUMNS, Memory, New, Origin, entry_of
from loopwright.memory.tally import Tally

_AT_ONCE: Final = 0.8
"""Seconds a correction waits for its vector."""
_LATER: Final = 30.0
"""Seconds the vectors of a batch may take."""
_BATCH: Final = 64
_PAUSE: Final = 2.0
_AWAY: Final = 10.0
"""Seconds to wait after an embedder failed."""
_RENEWED: Final = 60.0
"""Seconds between looks for vectors that another embedder made."""
_log = logging.getLogger(__name__)
EmbedderOf = Callable[[str], Embedder | None]
"""By the name of a model; None when it cannot be called."""
PolicyOf = Callable[[int, str], Awaitable[Privacy | None]]
"""Of a project and a task: where what is corrected there may go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What became of a correction."""

    entry_id: str | None
    task: str | None = None
    problem: str = ""
    """Why it is not remembered."""
    embedded: bool = False
    """It is shown from now on; else only to the very same inputs, until its vector is there."""
    conflicts: int = 0
    """Others said something else of nearly the same."""

    def shown(self) -> dict[str, Any]:
        """JSON."""
        said = {"entry": self.entry_id, "task": self.task, "embedded": self.embedded, "conflicts": self.conflicts}
        return {**said, "problem": self.problem} if self.problem else said


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """Over all projects."""

    memory: Memory
    held: Held
    tally: Tally
    form_of: FormOf
    embedder_of: EmbedderOf
    policy_of: PolicyOf

    async def corrected(
        self, connection: Connection, detail: CallDetail, correction_id: int, output: Any, author: tuple[str, int]
    ) -> Learnt:
        """Remember a correction, in the transaction that keeps it.

        Args:
            connection: of that transaction.
            detail: the call with its texts.
            correction_id: of the correction.
            output: what it says.
            author: name and key.
        """
        call = detail.call
        said = _answer(detail.response)
        await effect.note(connection, call, corrected=not _same(said, output))
        aside = (detail.request or {}).get("loopwright")
        inputs = aside.get("variables") if isinstance(aside, Mapping) else None
        if call.task is None or not isinstance(inputs, Mapping):
            return Learnt(entry_id=None, task=call.task)
        origin = Origin(
            call_id=call.id, correction_id=correction_id, key_id=call.key_id, session=call.session, tags=call.tags
        )
        try:
            lesson = self.form_of(call.project_id, call.task).lesson(Lesson(inputs=dict(inputs), output=output))
        except (BadRequest, UnknownModel) as error:
            return Learnt(entry_id=None, task=call.task, problem=error.message)
        made = await self.memory.add(
            connection,
            New(
                project_id=call.project_id,
                task=call.task,
                lesson=lesson,
                author=author[0],
                by_key_id=author[1],
                origin=origin,
            ),
        )
        return Learnt(entry_id=made, task=call.task)

    async def settled(self, learnt: Learnt, project_id: int) -> Learnt:
        """Give what was just learnt its vector, unless that takes too long: then it comes by itself."""
        if learnt.entry_id is None or learnt.task is None:
            return learnt
        key = (project_id, learnt.task)
        try:
            async with asyncio.timeout(_AT_ONCE):
                await self.held.take(key, [learnt.entry_id, *await self.memory.before(learnt.entry_id)])
                found = await self._embed(key, [learnt.entry_id])
                await self.held.take(key, [learnt.entry_id])
        except (LoopwrightError, TimeoutError) as error:
            _log.warning("a correction of task %s is embedded later: %s", learnt.task, str(error) or "it takes long")
            return learnt
        return Learnt(entry_id=learnt.entry_id, task=learnt.task, embedded=found is not None, conflicts=found or 0)

    async def scored(self, connection: Connection, call: Call, score: Score) -> None:
        """Note what somebody thinks of an answer that memory may have shaped."""
        if score.passed is not None:
            await effect.note(connection, call, bad=not score.passed)

    async def forget(self, call_id: str) -> None:
        """Forget what was learnt of a call."""
        await self.memory.forget(project_id=None, call_id=call_id)

    async def bring(self, news: Sequence[New]) -> tuple[list[str], int, int]:
        """Remember many of one project and task; their ids, how many have their vectors, and contradictions found.

        Raises:
            BadRequest: one cannot be kept; then none is.
        """
        if not news:
            return [], 0, 0
        key = (news[0].project_id, news[0].task)
        async with self.memory.db.transaction() as connection:
            ids = await self.memory.add_all(connection, news)
        done = conflicts = 0
        try:
            for begin in range(0, len(ids), _BATCH):
                async with asyncio.timeout(_LATER):
                    found = await self._embed(key, ids[begin : begin + _BATCH])
                if found is None:
                    break
                done, conflicts = done + len(ids[begin : begin + _BATCH]), conflicts + found
        except (LoopwrightError, TimeoutError) as error:
            _log.warning("what was imported is embedded later: %s", str(error) or "it takes long")
        await self.held.take(key, ids)
        return ids, done, conflicts

    async def watch(self) -> None:
        """Keep what is held current, embed what waits, write what was counted, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.held.watch())
            group.create_task(self.tally.run())
            group.create_task(self.tend())

    async def tend(self) -> None:
        """Embed what waits for it, until cancelled."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            pause = _PAUSE
            try:
                if loop.time() - renewed > _RENEWED:
                    renewed = loop.time()
                    await self.renew()
                while await self.catch_up():
                    pass
            except Unavailable:
                pass
            except (LoopwrightError, TimeoutError) as error:
                _log.warning("corrections wait to be embedded: %s", str(error) or "the embedder is late")
                pause = _AWAY
            await asyncio.sleep(pause)

    async def catch_up(self, *, after: float = 3.0) -> int:
        """Embed some of what has waited `after` seconds; how many.

        Raises:
            LoopwrightError: the embedder cannot answer.
        """
        async with self.memory.db.transaction() as connection:
            cursor = await connection.execute(
                f"""select id::text, project_id, task from memory_entries where embedder is null and {ACTIVE}
                    and created_at < now() - make_interval(secs => %s)
                    order by id limit {_BATCH} for update skip locked""".encode(),  # noqa: S608 - ours
                (after,),
            )
            keys: dict[tuple[int, str], list[str]] = {}
            for row in await cursor.fetchall():
                keys.setdefault((row["project_id"], row["task"]), []).append(row["id"])
            done = 0
            for key, ids in keys.items():
                async with asyncio.timeout(_LATER):
                    found = await self._embed(key, ids, connection)
                done += 0 if found is None else len(ids)
        return done

    async def renew(self) -> None:
        """Take the vectors of another embedder than the task's now, so that they are made anew."""
        rows = await self.memory.db.rows(
            f"select distinct project_id, task, embedder from memory_entries where embedder is not null and {ACTIVE}"  # noqa: S608
        )
        for row in rows:
            form = self._form((row["project_id"], row["task"]))
            if form is None or form.embedder == row["embedder"] or self.embedder_of(form.embedder) is None:
                continue
            await self.memory.db.run(
                f"""update memory_entries set embedder = null, embedding = null, changed = nextval('memory_changes')
                    where project_id = %s and task = %s and embedder = %s and {ACTIVE}""",  # noqa: S608 - ours
                (row["project_id"], row["task"], row["embedder"]),
            )

    async def _embed(self, key: tuple[int, str], ids: Sequence[str], within: Connection | None = None) -> int | None:
        """Embed entries; how many contradictions came to light. None: nothing here embeds for that task."""
        form = self._form(key)
        embedder = None if form is None else self.embedder_of(form.embedder)
        if form is None or embedder is None:
            return None
        sql = f"select {COLUMNS} from memory_entries where id = any(%s::uuid[])"  # noqa: S608 - names of ours
        if within is None:
            rows = await self.memory.db.rows(sql, ([*ids],))
        else:
            rows = await (await within.execute(sql.encode(), ([*ids],))).fetchall()
        texts = {row["id"]: text_of(entry_of(row).lesson(self.memory.seal).inputs, form.text_input) for row in rows}
        if not texts:
            return 0
        vectors = await embedder([*texts.values()], privacy=await self.policy_of(*key))
        filled = dict(zip(texts, vectors, strict=True))
        if within is not None:
            return await self._fill(within, filled, form, key)
        async with self.memory.db.transaction() as connection:
            return await self._fill(connection, filled, form, key)

    async def _fill(
        self, connection: Connection, filled: Mapping[str, Sequence[float]], form: Form, key: tuple[int, str]
    ) -> int:
        await self.memory.fill(connection, filled, form.embedder, key=key)
        cursor = await connection.execute(
            b"select min(author) = max(author) as alone from memory_entries where project_id = %s and task = %s", key
        )
        row = await cursor.fetchone()
        if row is None or row["alone"]:
            return 0  # nobody contradicts themselves: they have changed their mind
        conflicts = Conflicts(self.memory)
        return sum([await conflicts.seek(connection, entry_id) for entry_id in filled])

    def _form(self, key: tuple[int, str]) -> Form | None:
        try:
            return self.form_of(*key)
        except UnknownModel:
            return None


def _answer(response: Mapping[str, Any] | None) -> str | None:
    """What an answer says; None when it is not to be read."""
    choices = (response or {}).get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, Mapping) else None
    content = message.get("content") if isinstance(message, Mapping) else None
    return content if isinstance(content, str) else None


def _same(said: str | None, output: Any) -> bool:
    """Whether a correction says what the answer said: then it confirms it."""
    if said is None:
        return False
    if isinstance(output, str):
        return said.strip() == output.strip()
    try:
        return bool(msgspec.json.decode(said) == output)
    except (msgspec.MsgspecError, RecursionError):
        return False
