"""What one worker holds in memory, and how questions are known by their wording."""

import time

from loopwright.cache.entry import Entry
from loopwright.cache.memory import LONGEST_WORDING, Memory, Wording
from loopwright.core.chat import CacheNote, Delta

LATER = time.time() + 86_400  # of the import: some thousand tests may come between


def entry(name: bytes, *, body: bytes = b"{}", expires: float = LATER) -> Entry:
    return Entry(
        key=name * 32,
        body=body,
        expires=expires,
        call_id="0",
        project_id=1,
        key_id=1,
        session=None,
        tags={},
        model="m",
        target="m",
        usage=None,
        cost_nano=None,
        started_ns=1,
    )


def wording(raw: bytes, project_id: int = 1) -> Wording:
    return Wording(project_id=project_id, model="m", operation="chat", stream=False, wants_usage=False, raw=raw)


def noted(memory: Memory, one: Entry, raw: bytes) -> Delta:
    given = Delta(raw=one.body, done=True, cache=CacheNote(kind="hit"))
    memory.note(wording(raw), one, given)
    return given


def test_a_question_in_the_same_words_is_given_the_same_and_in_others_nothing() -> None:
    memory, one = Memory(100_000), entry(b"a")
    memory.hold(one)
    given = noted(memory, one, b"why")
    assert memory.recall(wording(b"why"), time.time()) is given
    assert memory.recall(wording(b"Why"), time.time()) is None
    assert memory.recall(wording(b"why", project_id=2), time.time()) is None


def test_a_wording_goes_with_its_answer() -> None:
    memory, one, other = Memory(100_000), entry(b"a"), entry(b"a", body=b"[]")
    memory.hold(one)
    noted(memory, one, b"why")
    memory.hold(other)  # in its place
    assert memory.recall(wording(b"why"), time.time()) is None
    noted(memory, one, b"why")  # is no longer held
    assert memory.recall(wording(b"why"), time.time()) is None
    noted(memory, other, b"why")
    assert memory.recall(wording(b"why"), time.time()) is not None
    assert memory.recall(wording(b"why"), LATER + 1) is None
    assert (memory.bytes, len(memory)) == (0, 0)
    memory.hold(one)
    noted(memory, one, b"why")
    memory.drop_where(lambda _entry: True)
    assert memory.recall(wording(b"why"), time.time()) is None
    assert memory.bytes == 0


def test_the_last_wording_of_a_question_takes_the_place_of_the_one_before() -> None:
    memory, one = Memory(100_000), entry(b"a")
    memory.hold(one)
    noted(memory, one, b"why")
    before = memory.bytes
    noted(memory, one, b"how")
    assert memory.bytes == before
    assert memory.recall(wording(b"why"), time.time()) is None
    assert memory.recall(wording(b"how"), time.time()) is not None


def test_long_questions_are_known_by_their_key_alone() -> None:
    memory, one = Memory(100_000), entry(b"a")
    memory.hold(one)
    before = memory.bytes
    noted(memory, one, b"x" * (LONGEST_WORDING + 1))
    assert memory.bytes == before


def test_wordings_count_as_answers_do_and_make_room_by_the_same_order() -> None:
    memory, first, second = Memory(10_000), entry(b"a"), entry(b"b")
    memory.hold(first)
    memory.hold(second)
    noted(memory, second, b"x" * 4_000)
    noted(memory, first, b"y" * 3_900)
    assert memory.bytes <= 10_000
    assert memory.find(second.key, time.time()) is not None
    assert memory.find(first.key, time.time()) is None
    assert memory.recall(wording(b"y" * 3_900), time.time()) is None
