"""Which documents may be found, as a condition."""

from loopwright.retrieval.filters import condition_of
from loopwright.retrieval.options import Options
from loopwright.retrieval.restriction import Restriction


def test_keys_tell_restrictions_apart() -> None:
    pets, memos = (Options(filter=condition_of({"kind": kind})) for kind in ("pet", "memo"))
    keys = [
        Restriction.of(collection, options, labels).key()
        for collection in (1, 2)
        for options in (Options(), pets, memos, Options(documents=(1,)))
        for labels in (None, frozenset[str](), frozenset({"board"}))
    ]
    assert len(set(keys)) == len(keys)
    again = Restriction.of(1, Options(filter=condition_of({"kind": "pet"})), frozenset({"b", "a"}))
    assert again.key() == Restriction.of(1, pets, frozenset({"a", "b"})).key()
