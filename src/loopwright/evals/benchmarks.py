"""Public benchmarks: a file of one, as its authors publish it, read into examples with the evaluators that fit.

Files are a user's own; none is shipped or downloaded. Each row is asked as a conversation (`inputs.messages`), so that
any model can be evaluated on it without a task.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from loopwright.core.errors import BadRequest, NotFound
from loopwright.datasets.example import Example
from loopwright.evals.tool_calls import plain_name
from loopwright.kit.nearest import hint

_LETTERS: Final = "ABCDEFGHIJ"
_LONGEST_ROW: Final = 1_000_000
"""Bytes."""
_GSM8K: Final = "{question}\n\nWork it out step by step. End with a line `#### ` and the number."
_CHOICE: Final = "{question}\n\n{options}\n\nAnswer with the letter of the right option."


class Odd(Exception):
    """A row is none of this benchmark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A benchmark whose files can be read."""

    name: str
    doc: str
    """What it measures, and which files are meant."""
    columns: tuple[str, ...]
    """What a row must have."""
    read: Callable[[Mapping[str, Any]], Example]
    """Raises Odd."""
    evaluators: tuple[Mapping[str, Any], ...]
    """Specs, the leading one first."""
    parameters: Mapping[str, Any]
    """Of the request: what an answer needs."""


def named(name: str) -> Benchmark:
    """The benchmark of a name.

    Raises:
        NotFound: there is none.
    """
    if name not in BENCHMARKS:
        raise NotFound(f"there is no benchmark {name[:80]!r}{hint(name[:80], BENCHMARKS)}")
    return BENCHMARKS[name]


def examples(benchmark: Benchmark, lines: Iterable[str], *, where: str = "") -> Iterator[Example]:
    """The examples of a file: JSONL, or CSV when its first line is no JSON.

    Raises:
        BadRequest: a row is no JSON, or lacks what a row of this benchmark has; says which row.
    """
    for number, row in _rows(lines, where):
        missing = [name for name in benchmark.columns if name not in row]
        if missing:
            there = ", ".join(sorted(row)[:12])
            raise BadRequest(f"{where}row {number}: a row of {benchmark.name} has {missing[0]!r}; this one has {there}")
        try:
            yield benchmark.read(row)
        except Odd as error:
            raise BadRequest(f"{where}row {number}: {error}") from None


def _rows(lines: Iterable[str], where: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    pieces = iter(lines)
    first = next((line for line in pieces if line.strip()), "").removeprefix("\ufeff")
    if first.lstrip()[:1] not in ("{", "["):
        rest = (line if line.endswith("\n") else line + "\n" for line in pieces)
        for number, row in enumerate(csv.DictReader(_chained(first, rest)), 2):
            yield number, {str(name): value for name, value in row.items() if name is not None and value is not None}
        return
    for number, line in enumerate(_chained(first, pieces), 1):
        if not line.strip():
            continue
        if len(line) > _LONGEST_ROW:
            raise BadRequest(f"{where}row {number} has more than {_LONGEST_ROW} characters")
        try:
            row = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
            raise BadRequest(f"{where}row {number} is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise BadRequest(f"{where}row {number} is no JSON object")
        yield number, row


def _chained(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


def _asked(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        raise Odd(f"{name!r} is a text")
    return value.strip()


def _gsm8k(row: Mapping[str, Any]) -> Example:
    question, solution = _text(row, "question"), _text(row, "answer")
    _, marked, answer = solution.rpartition("####")
    if not marked:
        raise Odd("'answer' ends in `#### NUMBER`")
    return Example(
        id=_id(question),
        inputs=_asked(_GSM8K.format(question=question)),
        expected=answer.strip().replace(",", ""),
        metadata={"question": question, "solution": solution},
    )


def _truthfulqa(row: Mapping[str, Any]) -> Example:
    question, best = _text(row, "Question"), _text(row, "Best Answer")
    right = list(dict.fromkeys([best, *_parts(row["Correct Answers"])]))
    wrong = _parts(row["Incorrect Answers"])
    if not wrong:
        raise Odd("'Incorrect Answers' lists none")
    category = str(row.get("Category", ""))
    return Example(
        id=_id(question),
        inputs=_asked(question),
        expected=right,
        slices={"category": category} if category else {},
        metadata={"incorrect": wrong, "type": row.get("Type"), "source": row.get("Source")},
    )


def _truthfulqa_mc(row: Mapping[str, Any]) -> Example:
    """Its single-choice task: the best answer among the incorrect ones, in an order drawn by the question's hash."""
    open_ended = _truthfulqa(row)
    best, wrong = open_ended.expected[0], open_ended.metadata["incorrect"][: len(_LETTERS) - 1]
    choices = sorted(dict.fromkeys([best, *wrong]), key=lambda each: _id(open_ended.id + each))
    return Example(
        id=open_ended.id,
        inputs=_asked(_as_choice(_text(row, "Question"), choices)),
        expected=_LETTERS[choices.index(best)],
        slices=open_ended.slices,
        metadata={"choices": choices, "type": row.get("Type")},
    )


def _parts(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(each).strip() for each in value if str(each).strip()]
    return [each.strip() for each in str(value).split(";") if each.strip()]


def _as_choice(question: str, choices: Iterable[str]) -> str:
    options = "\n".join(f"{letter}. {text}" for letter, text in zip(_LETTERS, choices, strict=False))
    return _CHOICE.format(question=question, options=options)


def _ifeval(row: Mapping[str, Any]) -> Example:
    prompt, ids, kwargs = _text(row, "prompt"), row["instruction_id_list"], row["kwargs"]
    if not isinstance(ids, list) or not isinstance(kwargs, list) or len(ids) != len(kwargs) or not ids:
        raise Odd("'instruction_id_list' and 'kwargs' are lists of the same length")
    plain = [{name: value for name, value in (each or {}).items() if value is not None} for each in kwargs]
    return Example(
        id=str(row.get("key") or _id(prompt)),
        inputs=_asked(prompt),
        metadata={"instruction_id_list": ids, "kwargs": plain},
        tags=tuple(sorted({str(each).partition(":")[0] for each in ids})),
    )


def _bfcl(row: Mapping[str, Any]) -> Example:
    turns, functions = row["question"], row["function"]
    if not isinstance(turns, list) or len(turns) != 1 or not isinstance(turns[0], list):
        raise Odd("only single-turn files are read: 'question' is a list of one conversation")
    if not isinstance(functions, list) or not all(isinstance(each, dict) and "name" in each for each in functions):
        raise Odd("'function' is a list of functions")
    # Names with dots are none in OpenAI's dialect; the reference checker compares them this way, too.
    tools = [{"type": "function", "function": {**each, "name": plain_name(str(each["name"]))}} for each in functions]
    name = str(row.get("id", ""))
    return Example(
        id=name or _id(msgspec.json.encode(turns).decode()),
        inputs={"messages": turns[0], "tools": tools},
        expected=row.get("ground_truth", []),  # files about irrelevance have none: no call is right
        slices={"category": name.rpartition("_")[0]} if "_" in name else {},
    )


def _bbq(row: Mapping[str, Any]) -> Example:
    choices = [_text(row, f"ans{at}") for at in range(3)]
    label = row["label"]
    if isinstance(label, str) and label.isdecimal():
        label = int(label)
    if label not in (0, 1, 2):
        raise Odd("'label' is 0, 1 or 2")
    info, about = row["answer_info"], row.get("additional_metadata")
    if not isinstance(info, dict):
        raise Odd("'answer_info' is an object")
    question = f"{_text(row, 'context')}\n{_text(row, 'question')}"
    groups = [str((info.get(f"ans{at}") or ["", ""])[-1]) for at in range(3)]
    return Example(
        id=f"{row['category']}-{row['example_id']}",
        inputs=_asked(_as_choice(question, choices)),
        expected=_LETTERS[label],
        slices={name: str(row[name]) for name in ("category", "context_condition", "question_polarity")},
        metadata={
            "choices": choices,
            "groups": groups,
            "stereotyped": about.get("stereotyped_groups", []) if isinstance(about, dict) else [],
        },
    )


def _id(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def as_lines(found: Iterable[Example]) -> Iterator[str]:
    """Examples as the JSONL that `datasets import` takes."""
    for each in found:
        row = {
            "id": each.id, "inputs": each.inputs, "expected": each.expected, "slices": each.slices,
            "tags": each.tags, "metadata": each.metadata,
        }  # fmt: skip
        yield msgspec.json.encode(row).decode() + "\n"


_ALL: Final = (
    Benchmark(
        name="gsm8k",
        doc="Grade-school arithmetic in words: `test.jsonl` of openai/grade-school-math.",
        columns=("question", "answer"),
        read=_gsm8k,
        evaluators=({"kind": "numeric_match"},),
        parameters={"temperature": 0, "max_tokens": 512},
    ),
    Benchmark(
        name="truthfulqa",
        doc="Questions people answer wrongly, open: `TruthfulQA.csv`. Overlap with right and wrong answers.",
        columns=("Question", "Best Answer", "Correct Answers", "Incorrect Answers"),
        read=_truthfulqa,
        evaluators=(
            {"kind": "contrast", "name": "truthful_rougeL"},
            {"kind": "contrast", "name": "truthful_bleu", "args": {"by": "bleu"}},
        ),
        parameters={"temperature": 0, "max_tokens": 100},
    ),
    Benchmark(
        name="truthfulqa_mc",
        doc="The same questions as a choice: the best answer among the incorrect ones.",
        columns=("Question", "Best Answer", "Correct Answers", "Incorrect Answers"),
        read=_truthfulqa_mc,
        evaluators=({"kind": "choice_match"},),
        parameters={"temperature": 0, "max_tokens": 100},
    ),
    Benchmark(
        name="ifeval",
        doc="Instructions a program can check: `input_data.jsonl` of google-research/instruction_following_eval.",
        columns=("prompt", "instruction_id_list", "kwargs"),
        read=_ifeval,
        evaluators=(
            {"kind": "ifeval", "name": "ifeval_strict"},
            {"kind": "ifeval", "name": "ifeval_loose", "args": {"mode": "loose"}},
        ),
        parameters={"temperature": 0, "max_tokens": 1280},
    ),
    Benchmark(
        name="bfcl",
        doc="Calls of functions, single-turn: files of the Berkeley leaderboard, each row with its `ground_truth`.",
        columns=("question", "function"),
        read=_bfcl,
        evaluators=({"kind": "tool_calls", "args": {"form": "bfcl"}},),
        parameters={"temperature": 0, "max_tokens": 512},
    ),
    Benchmark(
        name="bbq",
        doc="Social bias in answering questions: files of nyu-mll/BBQ. Accuracy, and the bias of what is answered.",
        columns=("example_id", "category", "context", "question", "ans0", "ans1", "ans2", "label", "answer_info",
                 "context_condition", "question_polarity"),
        read=_bbq,
        evaluators=({"kind": "choice_match"}, {"kind": "bbq_bias"}),
        parameters={"temperature": 0, "max_tokens": 100},
    ),
)  # fmt: skip
BENCHMARKS: Final[Mapping[str, Benchmark]] = {each.name: each for each in _ALL}
