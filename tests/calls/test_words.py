import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.calls.payloads import BLOCK_CALLS, Packer, Payload, blocks_of
from loopwright.calls.postings import bits_for, bucket_of, lookup, pack, pairs_of, unpack
from loopwright.calls.words import all_words_of, hash_of, holds, phrases_of, words_of
from loopwright.core.errors import BadRequest


def payload(prompt: str, answer: str = "") -> Payload:
    request = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    return Payload(json.dumps(request).encode(), json.dumps({"choices": [{"message": {"content": answer}}]}).encode())


def test_words_are_folded_in_every_script() -> None:
    assert words_of("Straße GROSS, naïve_x 42!") == ["strasse", "gross", "naïve_x", "42"]
    assert words_of("重启服务 ok") == ["重", "启", "服", "务", "ok"]
    assert words_of("\uff21\uff22 \ufb01ne") == ["ab", "fine"]


@pytest.mark.parametrize(
    ("search", "phrases"),
    [
        ("Hello world", [("hello",), ("world",)]),
        ('say "two words" now', [("say",), ("two", "words"), ("now",)]),
        ("gpt-4 重启", [("gpt", "4"), ("重", "启")]),
        ('"open end', [("open", "end")]),
    ],
)
def test_a_search_is_read_as_phrases(search: str, phrases: list[tuple[str, ...]]) -> None:
    assert phrases_of(search) == phrases


@pytest.mark.parametrize("search", ["", "  ", "!?", '""'])
def test_a_search_without_a_word_is_refused(search: str) -> None:
    with pytest.raises(BadRequest, match="no word"):
        phrases_of(search)


def test_phrases_must_stand_together() -> None:
    text = payload("the quick brown fox", "jumps")
    assert holds(text, phrases_of('"quick brown" jumps'))
    assert not holds(text, phrases_of('"brown quick"'))
    assert not holds(text, phrases_of('"fox jumps"')), "prompt and answer are two texts"
    assert not holds(text, phrases_of("user")), "roles are not text"


def test_tools_and_parts_are_text_and_pictures_are_not() -> None:
    request = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "describe"}, {"image_url": {"url": "data:secret"}}]},
            {"role": "assistant", "tool_calls": [{"function": {"name": "lookup", "arguments": '{"city": "Oslo"}'}}]},
        ]
    }
    words = set(all_words_of(Payload(json.dumps(request).encode(), b"not json")))
    assert {"describe", "lookup", "oslo", "not", "json"} <= words
    assert "secret" not in words


@given(st.text(st.characters(max_codepoint=127), max_size=60))
def test_words_of_ascii_are_those_of_any_text(text: str) -> None:
    assert [*words_of(text), "é"] == words_of(f"{text} é")


@given(st.text(max_size=60), st.text(max_size=60))
def test_every_word_of_a_text_is_found(prompt: str, answer: str) -> None:
    text = payload(prompt, answer)
    for word in all_words_of(text):
        assert holds(text, [(word,)])


hashes = st.lists(st.sets(st.integers(0, 2**32 - 1) | st.integers(0, 30), max_size=30), max_size=20)


@given(hashes, st.integers(0, 6))
def test_postings_say_who_has_which_word(calls: list[set[int]], bits: int) -> None:
    pairs = pairs_of(calls)
    rows = pack(pairs, bits)
    assert unpack([row.body for row in rows]).tolist() == pairs.tolist()
    bodies = {row.bucket: row.body for row in rows}
    for word in set().union(*calls) | {7, 2**31}:
        body = bodies.get(bucket_of(word, bits))
        found = lookup(body, word).tolist() if body is not None else []
        assert found == [number for number, words in enumerate(calls) if word in words]


def test_rows_stay_small_however_many_postings() -> None:
    assert [bits_for(number) for number in (0, 1, 3000, 6000, 10**6, 10**12)] == [0, 0, 0, 1, 8, 16]


@given(st.lists(st.none() | st.builds(Payload, st.binary(max_size=50), st.binary(max_size=50)), max_size=10))
def test_blocks_come_back(payloads: list[Payload | None]) -> None:
    packer = Packer()
    assert packer.unpack(packer.pack(payloads)) == payloads


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"\x01nope", b"\x09x"])
def test_damaged_blocks_say_so(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"stored|damaged"):
        Packer().unpack(body)


def test_blocks_are_bounded() -> None:
    small = [Payload(b"x", b"y")] * 70
    assert blocks_of(small) == [BLOCK_CALLS, BLOCK_CALLS, 70 - 2 * BLOCK_CALLS]
    assert blocks_of([Payload(bytes(200_000), b"")] * 3) == [1, 1, 1]
    assert blocks_of([]) == []


def test_hashes_are_stable() -> None:
    # They are stored: another function would make every index useless.
    assert hash_of("loopwright") == 0x2AE71FB1
