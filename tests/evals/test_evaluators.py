from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from loopwright.core.errors import BadRequest
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Evaluator, Output, Tools
from loopwright.evals.evaluators import BUILTIN, kinds, make, names
from tests.evals.evaluating import found

NEEDED: dict[str, dict[str, Any]] = {
    "regex": {"pattern": "a"},
    "length": {"least": 1},
    "sql_match": {"script": "create table t(a)"},
    "python": {"function": "json:dumps"},
    "grounded": {"embedding": False},
    **{kind: {"judged_by": "m"} for kind in ("context_relevance", "groundedness", "answer_relevance")},
}
APART = {"similarity", "judge"}
"""They need a model."""


def test_every_kind_says_what_it_is() -> None:
    told = {each.name: each for each in kinds()}
    assert set(BUILTIN) <= set(told)
    assert sorted(told) == names()
    for each in told.values():
        assert each.doc, each.name
        assert all(argument.doc and argument.type for argument in each.args), each.name
    assert told["regex"].args[0].required
    assert told["ifeval"].args[0].type == "one of: strict, loose"


@pytest.mark.parametrize("kind", sorted(set(BUILTIN) - APART))
def test_an_evaluator_can_be_made_again_from_its_record(kind: str) -> None:
    tools = Tools(functions=True)
    made = make({"kind": kind, "name": "mine", "args": NEEDED.get(kind, {})}, tools)
    assert isinstance(made, Evaluator)
    assert made.name == "mine"
    kept = json.loads(json.dumps(made.spec))
    assert make(kept, tools).spec == made.spec == {"kind": kind, "name": "mine", "args": NEEDED.get(kind, {})}


@pytest.mark.parametrize("kind", sorted(set(BUILTIN) - APART))
def test_no_answer_is_missing_and_an_empty_one_does_no_harm(kind: str) -> None:
    tools = Tools(functions=True)
    spec = {"kind": kind, "args": NEEDED.get(kind, {})}
    refused = found(spec, expected="x", tools=tools, error="upstream said no")
    assert refused.value is None
    assert "upstream said no" in (refused.missing or "")
    if kind != "python":
        empty = found(spec, "", "x", tools=tools)
        assert empty.value is not None or empty.missing


@pytest.mark.parametrize(
    ("spec", "says", "param"),
    [
        ("contain", "did you mean 'contains'", "kind"),
        ({"args": {}}, "`kind` names the evaluator", "kind"),
        ({"kind": "length", "arguments": {}}, "no 'arguments'", "arguments"),
        ({"kind": "length", "name": "a\x00b"}, "printable", "name"),
        ({"kind": "length", "args": [1]}, "an object", "args"),
        ({"kind": "length", "args": {"leest": 3}}, "did you mean 'least'", "args.leest"),
        ({"kind": "length", "args": {"least": "3"}}, "it takes a whole number", "args.least"),
        ({"kind": "length", "args": {"unit": "wordz", "least": 1}}, "characters, words, sentences", "args.unit"),
        ({"kind": "length", "args": {"least": 9, "most": 3}}, "no length", "args.most"),
        ({"kind": "length"}, "args.least, args.most", "args"),
        ({"kind": "regex"}, "args.pattern is missing", "args.pattern"),
        ({"kind": "regex", "args": {"pattern": "(?=a)b"}}, "look-arounds", "args.pattern"),
        ({"kind": "regex", "args": {"pattern": "(a)\\1"}}, "back-references", "args.pattern"),
        ({"kind": "regex", "args": {"pattern": "(a"}}, "missing ), unterminated", "args.pattern"),
        ({"kind": "regex", "args": {"pattern": "[[a"}}, "unterminated", "args.pattern"),
        ({"kind": "regex", "args": {"pattern": "(a{999}){999}"}}, "time linear", "args.pattern"),
        ({"kind": "regex", "args": {"pattern": "a" * 3000}}, "the limit is 2000", "args.pattern"),
        ({"kind": "contains", "args": {"texts": [""]}}, "occurs everywhere", "args.texts"),
        ({"kind": "contains", "args": {"texts": [1]}}, "a list of texts", "args.texts"),
        ({"kind": "json_schema", "args": {"schema": {"type": "objec"}}}, "schema", "args.schema.type"),
        ({"kind": "numeric_match", "args": {"tolerance": -1}}, "from 0 up", "args.tolerance"),
        ({"kind": "choice_match", "args": {"options": ["A"]}}, "2 to 100", "args.options"),
        ({"kind": "classification", "args": {"labels": ["a", "A"]}}, "different labels", "args.labels"),
        ({"kind": "classification", "args": {"labels": ["a", "b"], "positive": "c"}}, "none of the labels", "args.positive"),
        ({"kind": "chrf", "args": {"word_order": 9}}, "from 0 to 4", "args.word_order"),
        ({"kind": "similarity"}, "no embedding model", "kind"),
        ({"kind": "sql_match"}, "args.script or args.database", "args"),
        ({"kind": "sql_match", "args": {"database": "any.sqlite"}}, "configuration of the house", "args.database"),
        ({"kind": "sql_match", "args": {"script": "attach 'a' as b"}}, "more than make tables", "args.script"),
        ({"kind": "python", "args": {"function": "os:system"}}, "configuration of the house", "args.function"),
        ({"kind": "length", "args": {"least": 1, "x": "y" * 500_000}}, "the limit is 400,000", "args"),
    ],
)  # fmt: skip
def test_a_wrong_spec_is_refused_with_what_is_allowed(spec: Any, says: str, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        make(spec)
    assert says in caught.value.message
    assert caught.value.param == param


def test_a_function_of_python_says_what_it_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "judging_words.py").write_text(
        "import asyncio\n"
        "def long(example, output, least=3): return len(output.text) >= least\n"
        "async def share(example, output): return 0.25\n"
        "def label(example, output): return 'fine'\n"
        "def full(example, output): return {'value': 2, 'passed': False, 'explanation': 'why'}\n"
        "def nan(example, output): return float('nan')\n"
        "def odd(example, output): return object()\n"
        "async def slow(example, output): await asyncio.sleep(60)\n"
        "def wrong(example, output): raise KeyError('x')\n"
        "class Own(Exception): pass\n"
        "def own(example, output): raise Own('so')\n"
        "def prints(example, output): print('+' * 99); return 1\n"
        "def dies(example, output): import os; os._exit(3)\n"
        "def busy(example, output):\n"
        "    import re\n"
        "    return re.match('(a+)+$', 'a' * 40 + 'b') if output.text == 'stuck' else 1\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    tools = Tools(functions=True)

    def of(name: str, **args: Any) -> Any:
        spec = {"kind": "python", "args": {"function": f"judging_words:{name}", **args}}
        return found(spec, "four", tools=tools)

    assert of("long").value == 1.0
    assert of("long", with_args={"least": 9}).value == 0.0
    assert of("share").value == 0.25
    assert (of("label").value, of("label").label, of("label").missing) == (None, "fine", None)
    assert (of("full").value, of("full").passed, of("full").explanation) == (2.0, False, "why")
    assert of("nan").missing == "the function gave nan"
    for name, error in (("odd", TypeError), ("wrong", KeyError)):
        with pytest.raises(error):
            of(name)
    with pytest.raises(TimeoutError):
        of("slow", timeout=0.05)
    with pytest.raises(BadRequest, match="cannot be imported"):
        of("absent")
    with pytest.raises(Exception, match="so") as caught:
        of("own")
    assert type(caught.value).__name__ == "Own"
    assert of("prints").value == 1.0
    with pytest.raises(ChildProcessError, match="3"):
        of("dies")

    async def several() -> list[Any]:
        """One that holds the interpreter for ever does not hold up the others."""
        made = make({"kind": "python", "args": {"function": "judging_words:busy", "timeout": 3}}, tools)
        example = Example(id="1", inputs={})
        texts = ["stuck", *["fine"] * 20]
        return await asyncio.gather(*(made(example, Output(text=text)) for text in texts), return_exceptions=True)

    [stuck, *fine] = asyncio.run(several())
    assert isinstance(stuck, TimeoutError)
    assert [score.value for score in fine] == [1.0] * 20


def test_a_long_answer_is_measured_in_part_and_that_is_said() -> None:
    score = found("rouge", "word " * 100_000, "word word")
    assert score.details["clipped_from"] == 500_000


def test_evaluators_do_not_hold_each_other_up() -> None:
    """Many at once, as the runner asks them."""

    async def main() -> list[float | None]:
        made = make({"kind": "sql_match", "args": {"script": "create table t(a); insert into t values (1)"}})
        example = Example(id="1", inputs={}, expected="select a from t")
        scores = await asyncio.gather(*(made(example, Output(text="SELECT a FROM t")) for _ in range(20)))
        return [score.value for score in scores]

    assert asyncio.run(main()) == [1.0] * 20
