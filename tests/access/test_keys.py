import asyncio
from collections.abc import AsyncIterator

import pytest

from loopwright.access.keys import Keys
from loopwright.access.projects import Projects
from loopwright.core.errors import BadRequest, Conflict, NotFound, Unavailable
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate

pytestmark = pytest.mark.anyio


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, size=4)
    await migrate(database, ["access"])
    yield database
    await database.close()


async def test_a_secret_is_shown_once_and_never_kept(db: Database) -> None:
    keys = Keys(db)
    key, secret = await keys.create("default", "mine", models=("a", "b"))
    assert secret.startswith("lw-")
    assert len(secret) == 46
    assert (key.prefix, key.models, key.admin, key.project) == (secret[:9], ("a", "b"), False, "default")
    stored = await db.rows("select keys::text as row from keys")
    assert not any(secret in row["row"] or secret[12:] in row["row"] for row in stored)


async def test_a_key_is_found_by_its_secret_until_it_is_revoked(db: Database) -> None:
    keys = Keys(db)
    key, secret = await keys.create("default", "mine", models=("a",))
    who = keys.find(secret)
    assert who is not None
    assert (who.key_id, who.key_name, who.project, who.admin) == (key.id, "mine", "default", False)
    assert (who.may_call("a"), who.may_call("b")) == (True, False)
    assert keys.find(secret[:-1]) is None
    assert keys.find("") is None
    assert keys.find("\ud800") is None
    assert keys.holder(key.id) == who
    revoked = await keys.revoke(key.id)
    assert revoked.revoked_at is not None
    assert keys.find(secret) is None
    assert await keys.list() == ()
    assert [old.id for old in await keys.list(revoked=True)] == [key.id]


async def test_other_processes_learn_of_changes(db: Database) -> None:
    here, there = Keys(db), Keys(db)
    watching = asyncio.create_task(there.watch())
    key, secret = await here.create("default", "mine")
    async with asyncio.timeout(20):
        while there.find(secret) is None:  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.02)
        await here.revoke(key.id)
        while there.find(secret) is not None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_an_outage_of_the_database_is_none_of_authentication(db: Database) -> None:
    keys = Keys(db)
    _, secret = await keys.create("default", "mine")
    await db.close()
    with pytest.raises(Unavailable):
        await keys.load()
    assert keys.find(secret) is not None


async def test_a_name_is_one_live_keys_of_its_project(db: Database) -> None:
    keys = Keys(db)
    key, _ = await keys.create("default", "mine")
    with pytest.raises(Conflict, match="'mine' already"):
        await keys.create("default", "mine")
    await Projects(db).create("other")
    await keys.create("other", "mine")
    await keys.revoke(key.id)
    again, _ = await keys.create("default", "mine")
    assert again.id != key.id
    assert [found.id for found in await keys.list("default")] == [again.id]


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101])
async def test_an_unusable_name_is_refused(name: str, db: Database) -> None:
    with pytest.raises(BadRequest) as caught:
        await Keys(db).create("default", name)
    assert caught.value.param == "name"


async def test_what_is_not_there_is_named(db: Database) -> None:
    keys = Keys(db)
    with pytest.raises(NotFound, match="no project 'nowhere'"):
        await keys.create("nowhere", "mine")
    with pytest.raises(NotFound, match="no live key 999"):
        await keys.revoke(999)
    with pytest.raises(NotFound, match="did you mean 'default'"):
        await Projects(db).get("defalt")


async def test_projects_have_names_of_their_own(db: Database) -> None:
    projects = Projects(db)
    made = await projects.create("team-a")
    assert [project.name for project in await projects.list()] == ["default", "team-a"]
    assert await projects.get("team-a") == made
    with pytest.raises(Conflict):
        await projects.create("team-a")
    for wrong in ("", "Team", "a b", "-a", "a" * 64, "a\n"):
        with pytest.raises(BadRequest):
            await projects.create(wrong)


async def test_a_key_has_the_labels_it_was_made_with(db: Database) -> None:
    keys = Keys(db)
    made, secret = await keys.create("default", "staff", labels=("staff", "board", "staff "))
    assert made.labels == ("board", "staff")
    everything, other = await keys.create("default", "all")
    _, nothing = await keys.create("default", "guests", labels=())
    found = [keys.find(each) for each in (secret, other, nothing)]
    assert [who.labels for who in found if who] == [frozenset({"staff", "board"}), None, frozenset()]
    assert everything.labels is None
    assert [key.labels for key in await keys.list()] == [("board", "staff"), None, ()]
    noted = await db.rows("select detail from audit where act = 'key.create' order by id")
    assert [row["detail"].get("labels") for row in noted] == [["board", "staff"], None, []]
    for wrong in ("", "a,b", "x" * 101, "a\nb"):
        with pytest.raises(BadRequest, match="labels"):
            await keys.create("default", "wrong", labels=(wrong,))
