import json
from typing import Any

import pytest

from loopwright.core.errors import BadRequest
from loopwright.evals.labelled import Labelled, labelled


def read(*rows: Any) -> list[Labelled]:
    return list(labelled([json.dumps(row).encode() + b"\n" for row in rows]))


def test_our_own_form() -> None:
    single, pair = read(
        {"id": 7, "input": "q", "answer": "x", "human": ["yes", None], "reference": ["a", "b"], "author": "m"},
        {"inputs": {"question": "q"}, "a": "one", "b": "three", "human": "b", "authors": {"a": "m"}},
    )
    assert (single.id, single.human, single.authors, single.pair) == ("7", ("yes", None), ("m",), False)
    assert single.material.reference == "a\nb"
    assert (pair.id, pair.human, pair.authors, pair.lengths) == ("2", ("b",), ("m", None), (3, 5))
    assert pair.material.input == "q"
    assert read({"answer": "x", "human": True})[0].human == ("yes",)
    assert read({"answer": {"a": 1}, "human": 4})[0].material.answer == '{"a":1}'


def test_published_forms() -> None:
    [panda] = read(
        {"idx": 3, "cmp_key": "bloom-7b_llama-7b", "instruction": "Do", "input": "it", "response1": "x",
         "response2": "yy", "annotator1": 1, "annotator2": 0, "annotator3": 2}
    )  # fmt: skip
    assert panda.human == ("a", "tie", "b")
    assert panda.authors == ("bloom-7b", "llama-7b")
    assert panda.material.input == "Do\n\nit"
    said = [{"worker_id": 1, "response": "yes"}, {"worker_id": 2, "response": "no"}]
    first, second = read({"article": "x", "summary_sentences": [{"sentence": s, "responses": said} for s in "pq"]})
    assert (first.id, second.id) == ("1.0", "1.1")
    assert first.human == ("yes", "no")


def test_which_of_a_pair_is_right_is_drawn_but_stays() -> None:
    rows = [{"article_sent": "s", "correct_sent": f"right {n}", "incorrect_sent": "wrong"} for n in range(200)]
    found = read(*rows)
    assert 70 < sum(each.human == ("a",) for each in found) < 130
    for each in found:
        right = each.material.answer if each.human == ("a",) else each.material.other
        assert right.startswith("right")
    assert read(*rows) == found


def test_a_mark_of_byte_order_and_empty_lines_do_not_matter() -> None:
    raw = [b"\xef\xbb\xbf" + b'{"answer": "x", "human": "yes"}\r\n', b"\n", b'{"answer": "y", "human": "no"}']
    assert [each.id for each in labelled(raw)] == ["1", "3"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "line 2: no JSON"),
        (b"\xff", "line 2: no JSON"),
        (b"[1]", "line 2: an object"),
        (b'{"answer": "x"}', "line 2: neither"),
        (b'{"answer": "x", "human": []}', "line 2: not what"),
        (b'{"id": "1", "answer": "x", "human": "no"}', "line 2: the id '1' is there already"),
        (b'{"article": "x", "summary_sentences": 3}', "line 2: not what"),
        (b'{"response1": "", "response2": "", "annotator1": 9, "annotator2": 1, "annotator3": 1}', "line 2: not what"),
        (b'{"a": "x", "b": "y", "human": "a", "authors": 5}', "line 2: not what"),
        (b"{" * 100_000, "line 2: no JSON"),
        (b" " + b"x" * 2_000_001, "line 2: over"),
    ],
    ids=["cut", "bytes", "array", "unlabelled", "labels", "twice", "qags", "pandalm", "authors", "deep", "long"],
)
def test_a_wrong_line_is_named(line: bytes, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        list(labelled([b'{"answer": "x", "human": "yes"}', line]))


def test_there_is_an_end() -> None:
    with pytest.raises(BadRequest, match="more than 2"):
        list(labelled([b'{"answer": "x", "human": "yes"}'] * 3, most=2))
