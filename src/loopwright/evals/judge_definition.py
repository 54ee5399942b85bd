"""What a judge is: its form, what it is asked, of which model. Its hash is its version, which its card is pinned to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Final, Literal

import msgspec

from loopwright.core.errors import BadRequest, NotFound
from loopwright.evals.arguments import read
from loopwright.kit.nearest import hint

Form = Literal["rubric", "reference", "pairwise"]
TIE: Final = "tie"
FLIP: Final = "flip"
"""What a pairwise judge says in effect that prefers whichever answer stands first, or second, and may not say tie."""
PROMPT: Final = 1
"""Number of the words around the question, in `judge_prompt`: raised with them, so that every card goes stale."""
_LONGEST: Final = 20_000
_MOST_LABELS: Final = 20
_FARTHEST: Final = 1e9
_OURS: Final = frozenset(
    {"model", "messages", "stream", "stream_options", "n", "response_format", "tools", "loopwright"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A judge as it can be made again."""

    model: Annotated[str, "Model that judges, or a task"]
    question: Annotated[str, "What is asked of the answer, e.g. `Is the answer polite?`"] = ""
    judge: Annotated[
        str | None, "A judge that is known by name; what else is said here takes the place of what it says"
    ] = None
    form: Annotated[Form, "`rubric` looks at one answer, `reference` also at the expected one, `pairwise` at two"] = (
        "rubric"
    )
    labels: Annotated[Mapping[str, float], "Verdicts of a rubric or reference judge and what each counts"] = field(
        default_factory=dict
    )
    least: Annotated[float | None, "What a verdict must count to pass"] = None
    meanings: Annotated[Mapping[str, str], "What each verdict means, for the judge"] = field(default_factory=dict)
    ties: Annotated[bool, "Whether a pairwise judge may say that neither is better"] = True
    explain: Annotated[bool, "Whether the judge explains before its verdict: dearer, often better"] = False
    constrained: Annotated[bool, "Whether the verdict is held to its words by a JSON schema; else it is looked for"] = (
        True
    )
    parameters: Annotated[Mapping[str, Any], "Members of the request, e.g. `max_tokens`"] = field(
        default_factory=lambda: {"temperature": 0}
    )

    @property
    def verdicts(self) -> tuple[str, ...]:
        """What the judge may say; of a scale the best first."""
        if self.form == "pairwise":
            return ("A", "B", TIE) if self.ties else ("A", "B")
        return tuple(sorted(self.labels, key=lambda label: (-self.labels[label], label)))

    @property
    def sha(self) -> str:
        """SHA-256 of all that moves its verdicts: the words it is asked with, the model, the parameters."""
        said = {**asdict(self), "judge": None, "prompt": PROMPT}
        return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()

    def passed(self, label: str) -> bool | None:
        """Whether a verdict is good enough; None when nobody said from where on."""
        return None if self.least is None else self.labels[label] >= self.least


_YES_NO: Final = {"yes": 1.0, "no": 0.0}
KNOWN: Final[Mapping[str, Mapping[str, Any]]] = {
    "factuality": {
        "form": "pairwise",
        "question": "Which of the two summaries is factually consistent with the article, and says nothing it does not say?",
        "ties": False,
    },
    "helpful": {
        "form": "pairwise",
        "question": "Which of the two answers follows the instruction better: correct, complete, clear, without what nobody asked for?",
    },
    "faithful": {
        "form": "rubric",
        "question": "Is every statement of the answer supported by the text it was made from?",
        "labels": _YES_NO,
        "least": 1.0,
        "meanings": {"yes": "the text supports all of it", "no": "it says something the text does not support"},
    },
    "relevant_passage": {
        "form": "rubric",
        "question": "The input is a question, the answer a passage of a document. Does the passage help to answer the question?",
        "labels": {"yes": 1.0, "partly": 0.5, "no": 0.0},
        "least": 0.5,
        "meanings": {"yes": "the answer is in it", "partly": "part of the answer is", "no": "nothing of use is in it"},
    },
    "answers": {
        "form": "rubric",
        "question": "Does the answer speak to the question that was asked, whether or not it is right?",
        "labels": {"yes": 1.0, "partly": 0.5, "no": 0.0},
        "least": 0.5,
        "meanings": {
            "yes": "to all of it",
            "partly": "to part of it",
            "no": "it evades it or speaks of something else",
        },
    },
    "correct": {
        "form": "reference",
        "question": "Does the answer say the same as the reference in everything that was asked for?",
        "labels": _YES_NO,
        "least": 1.0,
        "meanings": {"yes": "it agrees, in whatever words", "no": "it contradicts the reference or lacks what it says"},
    },
    "quality": {
        "form": "rubric",
        "question": "How well does the answer do what was asked?",
        "labels": {"1": 1.0, "2": 2.0, "3": 3.0, "4": 4.0, "5": 5.0},
        "least": 4.0,
        "meanings": {"1": "useless", "2": "poor", "3": "usable with changes", "4": "good", "5": "nothing to improve"},
    },
}
"""Judges that are there from the start; each lacks only its model."""


def definition_of(args: Mapping[str, Any], *, known: Mapping[str, Mapping[str, Any]] = KNOWN) -> Definition:
    """A judge from its arguments.

    Raises:
        BadRequest: an argument is unknown or wrong; `param` names it.
        NotFound: it names a judge that is not known.
    """
    name = args.get("judge")
    if isinstance(name, str):
        if name not in known:
            raise NotFound(f"there is no judge {name[:80]!r}{hint(name[:80], known)}", param="args.judge")
        args = {**known[name], **args}
    found = read("judge", args, Definition)
    if found.form != "pairwise" and not found.labels:
        found = replace(found, labels={"pass": 1.0, "fail": 0.0}, least=1.0 if found.least is None else found.least)
    if found.form == "pairwise":
        found = replace(found, labels={}, least=None)
    _check(found)
    return found


def _check(found: Definition) -> None:
    if not found.model.strip() or len(found.model) > 300 or "\x00" in found.model:
        raise BadRequest("judge: args.model names the model that judges", param="args.model")
    if not found.question.strip() or len(found.question) > _LONGEST or "\x00" in found.question:
        raise BadRequest(f"judge: args.question: 1 to {_LONGEST:,} characters", param="args.question")
    _check_labels(found)
    if strange := [label for label in found.meanings if label not in found.verdicts]:
        raise BadRequest(f"judge: args.meanings: {strange[0][:80]!r} is no verdict", param="args.meanings")
    if len(msgspec.json.encode([found.meanings, found.parameters])) > _LONGEST:
        raise BadRequest(f"judge: args: over {_LONGEST:,} bytes of meanings and parameters", param="args")
    if taken := sorted(_OURS & found.parameters.keys()):
        raise BadRequest(f"judge: args.parameters: {taken[0]!r} is the judge's own to say", param="args.parameters")


def _check_labels(found: Definition) -> None:
    if found.form != "pairwise" and not 2 <= len(found.labels) <= _MOST_LABELS:
        raise BadRequest(f"judge: args.labels: 2 to {_MOST_LABELS} verdicts", param="args.labels")
    for label in found.labels:
        if not 0 < len(label) <= 60 or label != label.strip() or not label.isprintable():
            raise BadRequest(f"judge: args.labels: {label[:80]!r} is no printable word", param="args.labels")
    if not all(abs(value) <= _FARTHEST for value in found.labels.values()):
        raise BadRequest(
            f"judge: args.labels: a verdict counts from {-_FARTHEST:g} to {_FARTHEST:g}", param="args.labels"
        )
    if len({label.casefold() for label in found.labels}) < len(found.labels):
        raise BadRequest("judge: args.labels: two differ only in upper and lower case", param="args.labels")
