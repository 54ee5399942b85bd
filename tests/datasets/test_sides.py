import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import BadRequest
from loopwright.datasets.dataset import SPLITS, Shares
from loopwright.datasets.draft import Draft
from loopwright.datasets.example import Example, Split
from loopwright.datasets.likeness import ALIKE, VALUES, alike, common, likeness, normalised, pieces, signature
from loopwright.datasets.rows import read
from loopwright.datasets.sides import Rows, code_of, place, split_of

WORDS = [
    "card",
    "payment",
    "transfer",
    "account",
    "balance",
    "refund",
    "charge",
    "bank",
    "money",
    "cash",
    "euro",
    "fee",
    "limit",
    "pending",
    "declined",
    "top",
    "up",
    "exchange",
    "rate",
    "passport",
    "identity",
    "address",
    "verify",
    "stolen",
    "lost",
    "phone",
    "app",
    "atm",
    "withdraw",
    "statement",
    "transaction",
    "merchant",
    "currency",
    "country",
    "virtual",
    "physical",
    "order",
    "arrive",
    "delivery",
    "late",
    "pin",
    "blocked",
    "unblock",
    "change",
    "receive",
    "salary",
    "auto",
    "direct",
    "debit",
]
SHARES = Shares(train=60, validation=20, test=20)


def signed(text: str) -> bytes:
    return signature(pieces(normalised(text)))


def rows_of(texts: list[str], *, codes: list[int], kin: list[int], old: int, tied: list[tuple[int, int]]) -> Rows:
    reads = [read(Draft(row=at, example=Example(id=str(at), inputs={"q": text}))) for at, text in enumerate(texts)]
    return Rows(
        keys=np.array([each.key for each in reads], np.int64),
        signatures=np.frombuffer(b"".join(signature(each.pieces) for each in reads), np.uint8).reshape(-1, VALUES),
        codes=np.array(codes, np.uint8),
        kin=np.array(kin, np.int64),
        old=old,
        tied=np.array(tied, np.int64).reshape(-1, 2),
    )


def placed_in_steps(batches: list[list[str]]) -> tuple[list[str], list[int]]:
    texts: list[str] = []
    codes: list[int] = []
    kin: list[int] = []
    for batch in batches:
        old = len(texts)
        texts += batch
        found = place(
            rows_of(texts, codes=codes + [0] * len(batch), kin=kin + [0] * len(batch), old=old, tied=[]), SHARES
        )
        codes += found.codes.tolist()
        kin += found.kin.tolist()
    return texts, codes


def sentence(draw: random.Random, words: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(words))


def changed(draw: random.Random, text: str) -> str:
    words = text.split()
    words[draw.randrange(len(words))] = draw.choice(WORDS)
    return " ".join(words)


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 4))
def test_no_near_duplicates_are_on_two_sides_however_they_come(draw: random.Random, steps: int) -> None:
    texts = [sentence(draw, 12) for _ in range(12)]
    for _ in range(30):
        texts.append(changed(draw, draw.choice(texts)))
    draw.shuffle(texts)
    size = -(-len(texts) // steps)
    texts, codes = placed_in_steps([texts[at : at + size] for at in range(0, len(texts), size)])
    signatures = [signed(text) for text in texts]
    for one in range(len(texts)):
        for other in range(one):
            if likeness(signatures[one], signatures[other]) >= ALIKE and codes[one] and codes[other]:
                assert codes[one] == codes[other], (texts[one], texts[other])


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_nothing_depends_on_what_comes_later(draw: random.Random) -> None:
    first, second = [sentence(draw, 10) for _ in range(10)], [sentence(draw, 10) for _ in range(10)]
    _, alone = placed_in_steps([first])
    _, both = placed_in_steps([first, second])
    assert both[:10] == alone


def test_the_same_words_are_on_the_same_side_in_every_dataset() -> None:
    texts = [f"{word} {other} number {at}" for at, (word, other) in enumerate(zip(WORDS, WORDS[9:], strict=False))]
    _, forward = placed_in_steps([texts])
    _, backward = placed_in_steps([texts[::-1]])
    assert forward == backward[::-1]
    assert {split_of(code) for code in forward} == set(SPLITS)


def test_who_would_tie_two_sides_is_on_none() -> None:
    left = "my card payment was declined at the shop this morning"
    right = "please send the statement of last month to my new address"
    between = f"{left} {right}"
    rows = rows_of(
        [left + " ok", right + " ok", left, right, between],
        codes=[code_of("train"), code_of("test"), 0, 0, 0],
        kin=[1, 2, 0, 0, 0],
        old=2,
        tied=[(0, 4), (1, 4)],
    )
    found = place(rows, SHARES)
    assert [split_of(code) for code in found.codes.tolist()] == ["train", "test", None]
    assert found.held_back == 1


@pytest.mark.parametrize("wish", SPLITS)
def test_a_wish_is_granted_unless_a_near_duplicate_is_elsewhere(wish: Split) -> None:
    text = "how long does a transfer from my bank account take to arrive"
    free = place(rows_of([text, text + "?"], codes=[code_of(wish), 0], kin=[0, 0], old=0, tied=[]), SHARES)
    assert [split_of(code) for code in free.codes.tolist()] == [wish, wish]
    other: Split = "test" if wish == "train" else "train"
    taken = place(
        rows_of([text, text + "?"], codes=[code_of(other), code_of(wish)], kin=[7, 0], old=1, tied=[]), SHARES
    )
    assert split_of(int(taken.codes[0])) is None
    assert taken.kin.tolist() == [7]


def test_shares_add_up_and_larger_tests_hold_smaller_ones() -> None:
    random_keys = random.Random(1)
    keys = [random_keys.randrange(-(2**63), 2**63) for _ in range(20_000)]
    small, large = Shares(train=80, validation=10, test=10), Shares(train=60, validation=20, test=20)
    sides = [small.side(key) for key in keys]
    assert abs(sides.count("test") / len(keys) - 0.1) < 0.01
    assert all(large.side(key) == "test" for key, side in zip(keys, sides, strict=True) if side == "test")
    for wrong in ("80/10", "80/10/11", "a/b/c", "-1/51/50", "100/0/0/0"):
        with pytest.raises(BadRequest):
            Shares.read(wrong)
    assert Shares.read("0/0/100").side(5) == "test"


def test_signatures_are_the_same_in_every_process() -> None:
    """They are stored: another numpy must not make others of the same text."""
    assert signed("My card has not arrived yet.").hex()[:16] == "116d114cd0f34bd2"
    assert signed("  my CARD has\nnot arrived yet. ") == signed("My card has not arrived yet.")


def test_boilerplate_tells_nothing_apart() -> None:
    frame = "Answer the question with one SQL query over these tables: city(name, population), river(name, length). "
    texts = [frame + sentence(random.Random(at), 6) for at in range(40)]
    words = [pieces(normalised(text)) for text in texts]
    whole = np.frombuffer(b"".join(signature(each) for each in words), np.uint8).reshape(-1, VALUES)
    assert len(alike(whole)) > 20
    apart = common(words)
    assert apart is not None
    bare = np.frombuffer(b"".join(signature(each, apart) for each in words), np.uint8).reshape(-1, VALUES)
    assert len(alike(bare)) < 5
    assert common(words[:5]) is None


def test_the_estimate_is_near_the_truth() -> None:
    draw = random.Random(5)
    errors = []
    for _ in range(300):
        text = sentence(draw, 20)
        other = text
        for _ in range(draw.randrange(8)):
            other = changed(draw, other)
        a, b = set(pieces(text).tolist()), set(pieces(other).tolist())
        errors.append(likeness(signed(text), signed(other)) - len(a & b) / len(a | b))
    assert abs(float(np.mean(errors))) < 0.01
    assert float(np.std(errors)) < 0.05
