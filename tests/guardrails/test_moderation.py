import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.guardrails.lexicon import Lexicon
from loopwright.guardrails.moderation import CATEGORIES, JUDGED, Judge, Moderator, load
from loopwright.guardrails.offence import Offence

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load()


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("you are a fucking idiot", "harassment"),
        ("I want to kill myself", "self-harm"),
        ("I don\u2019t want to live any more, I WANT TO DIE", "self-harm"),
        ("she gave him a blowjob", "sexual"),
        ("he stabbed the man and then strangled him", "violence"),
    ],
)
def test_plain_cases_fall_into_their_category(judge: Judge, text: str, category: str) -> None:
    judged = judge.judge(text)
    assert judged.categories[category]
    assert judged.flagged


@pytest.mark.parametrize(
    "text", ["", "What are my options?", "The cat sat on the mat.", "Bitte senden Sie mir das Buch."]
)
def test_plain_texts_fall_into_none(judge: Judge, text: str) -> None:
    assert not judge.judge(text).flagged


def test_a_result_has_all_of_openais_categories_and_says_which_were_judged(judge: Judge) -> None:
    shown = judge.judge("you are a fucking idiot").shown()
    assert tuple(shown["categories"]) == tuple(shown["category_scores"]) == CATEGORIES
    applied = {name for name, kinds in shown["category_applied_input_types"].items() if kinds == ["text"]}
    assert applied == set(JUDGED)
    for name in set(CATEGORIES) - set(JUDGED):
        assert (shown["categories"][name], shown["category_scores"][name]) == (False, 0.0)


def test_full_width_letters_are_read(judge: Judge) -> None:
    wide = "".join(chr(ord(char) + 0xFEE0) if char != " " else " " for char in "you are a fucking idiot")
    assert judge.judge(wide).categories["harassment"]


@given(st.text())
def test_scores_are_between_nought_and_one_whatever_the_text(text: str) -> None:
    scores = JUDGE.judge(text).scores
    assert set(scores) == set(JUDGED)
    assert all(0.0 <= score <= 1.0 for score in scores.values())


JUDGE = Judge(Lexicon.load(), Offence.load())


def test_long_texts_and_many_are_judged_alike() -> None:
    async def main() -> None:
        moderator = Moderator()
        short, long = await asyncio.gather(moderator.judge(["a", "kill myself"]), moderator.judge(["word " * 9_000]))
        assert [each.flagged for each in (*short, *long)] == [False, True, False]

    asyncio.run(main())


def test_a_word_in_a_long_text_counts_less() -> None:
    lexicon = Lexicon.read("violence 0.6: kill*, set on fire")
    assert lexicon.scores(["kills"])["violence"] == pytest.approx(0.6)
    assert lexicon.scores(["set", "on", "fire"])["violence"] == pytest.approx(0.6)
    assert lexicon.scores(["kills", *["calm"] * 500])["violence"] < 0.3
    assert lexicon.scores(["calm"]) == {}


def test_tables_that_are_not_in_their_form_are_refused() -> None:
    with pytest.raises(ValueError, match="line 2"):
        Lexicon.read("# words\nviolence: kill")
    with pytest.raises(ValueError, match="unpack"):
        Offence.read("word 1 2")


def test_many_weighty_words_are_no_overflow() -> None:
    words = [f"w{at}" for at in range(20_000)]
    for sign, score in (("-", 0.0), ("", 1.0)):
        offence = Offence.read("# bias 0.0\n" + "".join(f"{word}\t1.0\t{sign}60.0\n" for word in words))
        assert offence.score(" ".join(words)) == pytest.approx(score)


def test_offence_is_the_margin_of_the_known_words() -> None:
    offence = Offence.read("# bias -1.0\nbad\t2.0\t6.0\ngood\t2.0\t-6.0\n")
    assert offence.score("bad") == pytest.approx(1 / (1 + 2.718281828**-2.0))
    assert offence.score("bad good") == pytest.approx(1 / (1 + 2.718281828**1.0))
    assert offence.score("other") == 0.0


def test_importing_it_loads_nothing() -> None:
    program = (
        "import tracemalloc; tracemalloc.start(); import loopwright.gateway.moderated as m; m.house_routes();"
        "print(sum(each.size for each in tracemalloc.take_snapshot().filter_traces("
        "[tracemalloc.Filter(True, '*guardrails/offence*'), tracemalloc.Filter(True, '*guardrails/lexicon*')]"
        ").statistics('filename')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(done.stdout) < 200_000


def test_categories_are_told_apart_in_labelled_texts() -> None:
    data = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data")).resolve()
    file = data / "openai_moderation" / "samples-1680.jsonl"
    if not file.exists():
        pytest.skip(f"the texts that OpenAI labelled are not at {file}")
    env = {**os.environ, "LOOPWRIGHT_TEST_DATA": str(data)}
    done = subprocess.run(
        [sys.executable, "bench/moderation.py", "--json"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    least = {"harassment": 0.8, "hate": 0.78, "self-harm": 0.78, "sexual": 0.94, "violence": 0.74, "flagged": 0.84}
    assert {name: found["categories"][name]["auc"] for name in least} == {
        name: pytest.approx(1.0, abs=1.0 - floor) for name, floor in least.items()
    }
    assert found["load_mb"] < 60
