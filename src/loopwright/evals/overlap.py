"""Overlap with references: BLEU and chrF by sacrebleu, ROUGE by rouge-score's tokens and counts.

BLEU and chrF of many answers are figures of the whole, not means: their counts are in the details of each score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from loopwright.core.errors import BadRequest
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Method, Output, Tools
from loopwright.evals.plain import LONGEST, Plain, clipped, references, said

_MOST_REFERENCES: Final = 50
_LARGEST_TABLE: Final = 1_000_000
"""Pairs of words: what rouge-score's table of common subsequences may have."""
_NO_REFERENCE: Final = "the example has no expected value"
_LEAST: Final = "From which value on an answer passes; without, nothing is said of that"


def _wanted(example: Example) -> list[str]:
    return [each[:LONGEST] for each in references(example)[:_MOST_REFERENCES]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BleuArgs:
    """Of `bleu`."""

    tokens: Annotated[
        Literal["13a", "intl", "zh", "char", "none"],
        "How words are told apart: `13a` as WMT does, `intl` by Unicode, `zh` for Chinese, `char` each character",
    ] = "13a"
    lower_case: Annotated[bool, "Whether upper and lower case are the same"] = False
    least: Annotated[float | None, _LEAST] = None


class Bleu(Plain[BleuArgs]):
    """BLEU with the references, 0 to 100, by sacrebleu; over many answers the corpus' BLEU."""

    __slots__ = ("_metric",)
    Args = BleuArgs
    most = 100.0

    def prepare(self, tools: Tools) -> None:
        """Make the metric."""
        del tools
        self._metric = BLEU(tokenize=self.args.tokens, lowercase=self.args.lower_case, effective_order=True, force=True)

    def find(self, example: Example, output: Output) -> Score:
        """Sentence BLEU, with exponential smoothing and effective order."""
        wanted = _wanted(example)
        if not wanted:
            return self.missing(_NO_REFERENCE)
        text, cut = clipped(output.text)
        found = self._metric.sentence_score(text, wanted)
        counts = [found.sys_len, found.ref_len, *found.counts, *found.totals]
        return self.figure(min(100.0, found.score), least=self.args.least, counts=[int(each) for each in counts], **cut)

    def aggregate(self, scores: Sequence[Score], /) -> Mapping[str, float]:
        """BLEU of all answers as one text."""
        totals = _summed(scores)
        if totals is None:
            return {}
        found = BLEU.compute_bleu(totals[2:6], totals[6:], totals[0], totals[1], smooth_method="exp")
        return {"bleu": min(100.0, float(found.score))}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChrfArgs:
    """Of `chrf`."""

    word_order: Annotated[int, "0 is chrF, 2 is chrF++"] = 0
    lower_case: Annotated[bool, "Whether upper and lower case are the same"] = False
    least: Annotated[float | None, _LEAST] = None


class Chrf(Plain[ChrfArgs]):
    """chrF with the best reference, 0 to 100, by sacrebleu; over many answers the corpus' chrF."""

    __slots__ = ("_metric",)
    Args = ChrfArgs
    most = 100.0

    def prepare(self, tools: Tools) -> None:
        """Make the metric."""
        del tools
        if not 0 <= self.args.word_order <= 4:
            raise BadRequest(f"{self.kind}: args.word_order is a number from 0 to 4", param="args.word_order")
        self._metric = CHRF(word_order=self.args.word_order, lowercase=self.args.lower_case)

    def find(self, example: Example, output: Output) -> Score:
        """Sentence chrF."""
        wanted = _wanted(example)
        if not wanted:
            return self.missing(_NO_REFERENCE)
        text, cut = clipped(output.text)
        # sacrebleu gives counts only through this method; its own significance tests call it from outside, too.
        [counts] = self._metric._extract_corpus_statistics([text], [[each] for each in wanted])  # noqa: SLF001
        value = self._metric._compute_score_from_stats(counts).score  # noqa: SLF001
        return self.figure(float(value), least=self.args.least, counts=[int(each) for each in counts], **cut)

    def aggregate(self, scores: Sequence[Score], /) -> Mapping[str, float]:
        """ChrF of all answers as one text."""
        totals = _summed(scores)
        if totals is None:
            return {}
        return {"chrf": float(self._metric._compute_score_from_stats(totals).score)}  # noqa: SLF001


def _summed(scores: Sequence[Score]) -> list[int] | None:
    counts = [score.details["counts"] for score in scores if score.value is not None and "counts" in score.details]
    return [sum(column) for column in zip(*counts, strict=True)] if counts else None


RougeType = Literal["rouge1", "rouge2", "rougeL", "rougeLsum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RougeArgs:
    """Of `rouge`."""

    type: Annotated[RougeType, "Words, pairs of words, the longest common subsequence, or that by lines"] = "rougeL"
    measure: Annotated[Literal["f1", "precision", "recall"], "Which of the three is the value"] = "f1"
    stem: Annotated[bool, "Whether words count by their stem (Porter's, for English)"] = False
    least: Annotated[float | None, _LEAST] = None


class Rouge(Plain[RougeArgs]):
    """ROUGE with the best reference, 0 to 1, as rouge-score counts it."""

    __slots__ = ("_scorer", "_tokenizer")
    Args = RougeArgs

    def prepare(self, tools: Tools) -> None:
        """Make the scorer."""
        del tools
        self._tokenizer = DefaultTokenizer(self.args.stem)
        self._scorer = RougeScorer([self.args.type], tokenizer=self._tokenizer)

    def find(self, example: Example, output: Output) -> Score:
        """Precision, recall and F1 with the reference whose measure is highest."""
        wanted = _wanted(example)
        if not wanted:
            return self.missing(_NO_REFERENCE)
        text, cut = clipped(output.text)
        best: dict[str, float] = {}
        for each in wanted:
            found = self._against(each, text)
            if found is None:
                return self.missing("answer and reference are too long for rougeLsum; rougeL has no such limit", **cut)
            if not best or found[self.args.measure] > best[self.args.measure]:
                best = found
        return self.figure(best[self.args.measure], least=self.args.least, **best, **cut)

    def _against(self, wanted: str, text: str) -> dict[str, float] | None:
        if self.args.type == "rougeL":
            return rouge_l(self._tokenizer.tokenize(wanted), self._tokenizer.tokenize(text))
        if self.args.type == "rougeLsum" and self._table(wanted, text) > _LARGEST_TABLE:
            return None
        found = self._scorer.score(wanted, text)[self.args.type]
        return {"precision": float(found.precision), "recall": float(found.recall), "f1": float(found.fmeasure)}

    def _table(self, wanted: str, text: str) -> int:
        return len(self._tokenizer.tokenize(wanted)) * len(self._tokenizer.tokenize(text))


def rouge_l(wanted: Sequence[str], given: Sequence[str]) -> dict[str, float]:
    """ROUGE-L of words; the same as rouge-score's, whose table takes quadratic memory."""
    length = common_subsequence(wanted, given)
    precision, recall = (length / len(given) if given else 0.0), (length / len(wanted) if wanted else 0.0)
    both = precision + recall
    return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / both if both else 0.0}


def common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence, 64 words of `one` at a time (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for at, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << at
    every = (1 << len(one)) - 1
    row = every
    for word in other:
        match = row & places.get(word, 0)
        row = (row + match | row - match) & every
    return len(one) - row.bit_count()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastArgs:
    """Of `contrast`."""

    wrong: Annotated[str, "Which member of the example's metadata lists the wrong answers"] = "incorrect"
    by: Annotated[Literal["rougeL", "chrf", "bleu"], "How likeness is measured"] = "rougeL"


class Contrast(Plain[ContrastArgs]):
    """Whether the answer is more like a right reference than like any wrong one, as TruthfulQA's overlap scores."""

    __slots__ = ("_bleu", "_chrf", "_tokenizer")
    Args = ContrastArgs
    method: Method = "benchmark"

    def prepare(self, tools: Tools) -> None:
        """Make the metrics."""
        del tools
        self._bleu = BLEU(effective_order=True, force=True)
        self._chrf = CHRF()
        self._tokenizer = DefaultTokenizer(use_stemmer=False)

    def find(self, example: Example, output: Output) -> Score:
        """1 when the best right reference is more like it than the best wrong one."""
        wrong = example.metadata.get(self.args.wrong)
        wanted = _wanted(example)
        if not wanted or not isinstance(wrong, list | tuple) or not wrong:
            return self.missing(f"the example lacks right answers, or wrong ones in metadata.{self.args.wrong}"[:200])
        text, cut = clipped(output.text)
        right = max(self._likeness(text, each) for each in wanted)
        other = max(self._likeness(text, said(each)[:LONGEST]) for each in wrong[:_MOST_REFERENCES])
        figures: dict[str, Any] = {"right": round(right, 6), "wrong": round(other, 6)}
        return self.verdict(right > other, f"{self.args.by}: {right:.3f} right, {other:.3f} wrong", **figures, **cut)

    def _likeness(self, text: str, reference: str) -> float:
        if self.args.by == "rougeL":
            return rouge_l(self._tokenizer.tokenize(reference), self._tokenizer.tokenize(text))["f1"]
        metric = self._bleu if self.args.by == "bleu" else self._chrf
        return float(metric.sentence_score(text, [reference]).score)
