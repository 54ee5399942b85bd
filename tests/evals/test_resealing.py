"""Evaluations are sealed anew while they stay readable."""

from pathlib import Path

import pytest

from loopwright.evals import results
from loopwright.evals.resealing import SEALED
from loopwright.kit.keyring import SealingKey
from loopwright.kit.seal import Seal
from tests.evals.running import Script, numbers, room

pytestmark = pytest.mark.anyio


async def test_all_of_an_evaluation_is_sealed_anew(database_url: str, tmp_path: Path) -> None:
    old, new = SealingKey(id="old", secret=b"o" * 32), SealingKey(id="new", secret=b"n" * 32)
    async with room(database_url, tmp_path, numbers(5), seal=Seal((old,))) as made:
        name = await made.create("m")
        await made.run(Script())
        assert await SEALED.keys_used(made.db) == {"old": 11}
        seal = Seal((new, old))
        while await SEALED.reseal(made.db, seal):
            pass
        assert await SEALED.keys_used(made.db) == {"new": 11}
        made.store.seal = Seal((new,))
        found = await made.show(name)
        rows = await results.page(made.store, found)
        assert [None if each.found[0].output is None else each.found[0].output.text for each in rows] == list("01234")
        made.store.seal = Seal((old,))
        [hidden, *_] = await results.page(made.store, found)
        assert hidden.found[0].output is None
