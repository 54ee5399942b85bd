"""What a model meant as its answer, found in what it wrote. Each function gives None when that cannot be told.

Models explain instead of answering. Where the answer can be constrained (an enum, a JSON schema, a tool), constrain it;
these parsers are for the rest. How often they fail on real answers is measured by `bench/extraction.py` and stated in
docs/evaluators.md. All read a bounded part of the text, in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from loopwright.kit.fitting import NotJson
from loopwright.kit.fitting import read as read_json

_READ: Final = 20_000
"""Characters at the end (for what comes last) or at the start of an answer that are looked at."""
_THOUGHT: Final = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_NUMERAL: Final = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,12}(?![0-9])|[0-9]{1,40})(?:\.[0-9]{1,40})?|\.[0-9]{1,40}"
_NUMBER: Final = re.compile(
    rf"(?<![\w.])(?P<sign>[-+\u2212\u2013](?=[$\u20ac\u00a3\u00a5.0-9]))?[$\u20ac\u00a3\u00a5]?(?P<minus>-)?(?P<body>{_NUMERAL})"
    rf"(?P<exponent>[eE][-+]?[0-9]{{1,3}}(?![\w]))?(?:\s?/\s?(?P<under>{_NUMERAL})(?![/\w]))?"
)
_FRACTION: Final = re.compile(r"\\[dt]?frac\{([0-9]{1,20})\}\{([0-9]{1,20})\}")
_MARKED: Final = re.compile(r"####[ \t]*([^\n]{1,100})")
_BOXED: Final = re.compile(r"\\boxed\{([^{}]{1,200})\}")
_ANSWER: Final = re.compile(
    r"\b(?:(?:final|correct|right|best|my|the) )?(?:answer|choice|option|result|total|solution)\b"
    r"(?: (?:to|for) (?:this|the|your) (?:question|problem))?[*_\"']{0,3}[ \t]{0,3}(?::|=|\bis\b(?! not\b)|\bwould be\b|\bwill be\b)"
    r"(?: (?:therefore|thus|indeed|definitely))?[ \t]{0,3}:?\s{0,3}(?P<rest>[^\n]{1,300})",
    re.IGNORECASE,
)
_CHOSEN: Final = re.compile(
    r"\b(?:i(?:'d| would| will)? (?:choose|pick|select|go with|say)|(?:answer|choose|pick|select)(?:ing)?)"
    r"[ \t]{1,3}(?:(?:the )?(?:option|choice|answer|letter) )?(?P<rest>[^\n]{1,100})",
    re.IGNORECASE,
)
_FENCE: Final = re.compile(r"```([a-zA-Z0-9+#-]{0,20})[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_SQL_START: Final = re.compile(r"(?:^|(?<=[\s`:(]))(?:select|with)\b(?=[\s(*\"'`\[])", re.IGNORECASE)
_SQL_WITH: Final = re.compile(
    r"with\s{1,50}(?:recursive\s{1,50})?[\w\"`\[\]]{1,100}\s{0,50}(?:\([^()]{0,500}\))?\s{0,50}as\s", re.IGNORECASE
)
_WORD: Final = re.compile(r"\w+")


def spoken(text: str) -> str:
    """The text without what a reasoning model thought before it."""
    return _THOUGHT.sub("", text).strip() if "<think" in text else text.strip()


def number(text: str) -> Decimal | None:
    """The number an answer gives: what it marks as its answer (`####`, a box, "the answer is"), else its last number.

    `1,234.50`, `$12`, `3/4`, `1e3`, `-7` and `50%` (as 50) are read; words (`twelve`) are not.
    """
    said = _FRACTION.sub(r"\1/\2", spoken(text)[-_READ:])
    for pattern, at in ((_MARKED, 0), (_BOXED, -1)):  # models go on after their first `####`, as other harnesses know
        marked = [found for part in pattern.findall(said) if (found := _first_number(part)) is not None]
        if marked:
            return marked[at]
    for stated in reversed(list(_ANSWER.finditer(said))):
        # "The answer is 3 * 4 = 12": what follows the last sign of equality is the result.
        value = _first_number(stated["rest"].rpartition("=")[2])
        if value is not None:
            return value
    last = None
    for match in _NUMBER.finditer(said):
        last = _value(match) or last
    return last


def as_number(value: Any) -> Decimal | None:
    """A reference as a number: 3, 3.5, `"1,234"`, or a GSM8K solution that ends in `#### 18`."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            found = Decimal(str(value))
        except InvalidOperation:
            return None
        return found if found.is_finite() else None
    return number(value) if isinstance(value, str) else None


def _first_number(text: str) -> Decimal | None:
    for match in _NUMBER.finditer(text):
        value = _value(match)
        if value is not None:
            return value
    return None


def _value(match: re.Match[str]) -> Decimal | None:
    try:
        value = Decimal(match["body"].replace(",", "") + (match["exponent"] or ""))
        if match["under"]:
            value /= Decimal(match["under"].replace(",", ""))
    except ArithmeticError:
        return None
    negative = match["sign"] in ("-", "\u2212", "\u2013") if match["sign"] else match["minus"] is not None
    return -value if negative else value


def choice(text: str, options: Sequence[str] | Mapping[str, str]) -> str | None:
    """Which option an answer takes; the option's label.

    Args:
        text: the answer.
        options: labels (`["A", "B"]`, `["positive", "negative"]`), or label to its text (`{"A": "The grandfather"}`).

    The whole answer, then what it states as its answer, then how it begins, then the only option it names. Options are
    told apart by their labels, and by their texts where they have some. More than one is None, and so is a label with
    the text of another option; an answer that repeats the list of options takes none by that.
    """
    labelled = dict(options) if isinstance(options, Mapping) else dict.fromkeys(options, "")
    said = spoken(text)
    if not said or not labelled:
        return None
    by_fold = {_folded(label): label for label in labelled}
    whole = by_fold.get(_folded(said[:_READ]))
    if whole is not None:
        return whole
    texts = {label: _folded(words) for label, words in labelled.items() if _folded(words)}
    same = [label for label, words in texts.items() if words == _folded(said[:_READ])]
    if len(same) == 1:
        return same[0]
    found = _stated(said[-_READ:], labelled, texts)
    if found is None and not _listed(said, labelled):
        found = _begun(said, labelled, texts)
        found = _named(said, labelled, texts) if found is None else found
    return found or None


def _stated(said: str, labelled: Mapping[str, str], texts: Mapping[str, str]) -> str | None:
    """What is called the answer; the last such statement counts. Empty is a contradiction."""
    boxed = _BOXED.findall(said)
    rests = [boxed[-1]] if boxed else []
    rests += [found["rest"] for found in reversed(list(_ANSWER.finditer(said)))]
    rests += [found["rest"] for found in reversed(list(_CHOSEN.finditer(said)))]
    for rest in rests:
        found = _leading(rest, labelled)
        if found is not None:
            return _settled(found, rest, texts)
        found = _only(_folded(rest.partition(". ")[0]), texts)
        if found is not None:
            return found
    return None


def _listed(said: str, labelled: Mapping[str, str]) -> bool:
    """Whether it repeats the list of options: lines that begin with several labels."""
    lines = (line.lstrip(" \t*_(").rstrip() for line in said[:_READ].split("\n"))
    begun = {
        label for line in lines for label in labelled if line.startswith(label) and line[len(label) :][:1] in ".):"
    }
    return len(begun) > 1


def _settled(label: str, rest: str, texts: Mapping[str, str]) -> str:
    """The label, unless the text of another option follows it."""
    words = _folded(rest).removeprefix(_folded(label)).strip()
    if not words or words.startswith(texts.get(label, "\0")):
        return label
    other = any(words == text or words.startswith(text + " ") for name, text in texts.items() if name != label)
    return "" if other else label


def _begun(said: str, labelled: Mapping[str, str], texts: Mapping[str, str]) -> str | None:
    """How the answer begins: `B) …`, `**B**`, or with the text of an option. Empty is a contradiction."""
    first = said[:_READ].partition("\n")[0][:500]
    found = _leading(first, labelled, strict=True)
    if found is not None:
        return _settled(found, first, texts)
    words = _folded(first)
    starts = [label for label, text in texts.items() if words == text or words.startswith(text + " ")]
    if " or " in words and _only(words, texts) is None:
        return None  # "the one or the other"
    return max(starts, key=lambda label: len(texts[label])) if starts else None


def _named(said: str, labelled: Mapping[str, str], texts: Mapping[str, str]) -> str | None:
    """The only option that is named anywhere."""
    part = said[-_READ:]
    marked = {label for label in labelled if len(label) <= 2 and _marks(label).search(part)}
    if len(marked) == 1:
        return marked.pop()
    if marked:
        return None
    longer = {label: _folded(label) for label in labelled if len(label) > 2}
    return _only(_folded(part), longer) or _only(_folded(part), texts)


def _leading(rest: str, labelled: Mapping[str, str], *, strict: bool = False) -> str | None:
    """The label a text begins with: alone, in brackets, or set off. `strict`: "A man …" begins with no label."""
    plain = rest.lstrip(" \t*_`\"'([{\\<:")
    plain = re.sub(r"\A(?:(?:option|choice|answer|letter|text\{)[ \t:]{0,3})", "", plain, flags=re.IGNORECASE)
    plain = plain.lstrip(" *_`\"'([{")
    for label in sorted(labelled, key=len, reverse=True):
        if not plain.casefold().startswith(label.casefold()):
            continue
        after = plain[len(label) : len(label) + 2]
        if len(label) <= 2 and not plain.startswith(label):
            continue  # "a dog" is not A
        if (
            not after
            or after[0] in ")].:,;*_`\"'}\n>"
            or (after[0] == " " and after[1:] in ("", "-", "\u2013", "\u2014", "(", "|"))
        ):
            return label
        if not after[0].isalnum() and len(label) > 2:
            return label
        if not strict and after[0] == " " and label not in ("A", "I"):
            return label
    return None


def _marks(label: str) -> re.Pattern[str]:
    quoted = re.escape(label)
    return re.compile(
        rf"\({quoted}\)|\*\*\(?{quoted}[).:]?\*\*|(?<!\w){quoted}\)|\b[Oo]ption {quoted}\b|(?m:^){quoted}[.:](?=\s)"
    )


def _only(words: str, texts: Mapping[str, str]) -> str | None:
    """The one option whose text occurs; one whose text is part of another's that occurs does not count."""
    padded = f" {words} "
    there = [label for label, text in texts.items() if text and f" {text} " in padded]
    kept = [
        label
        for label in there
        if not any(other != label and f" {texts[label]} " in f" {texts[other]} " for other in there)
    ]
    return kept[0] if len(kept) == 1 else None


def _folded(text: str) -> str:
    """Words only, in lower case."""
    return " ".join(_WORD.findall(text.casefold().replace("'", "").replace("\u2019", "")))


def sql(text: str) -> str | None:
    """The query in an answer: the last fence that holds one, else from its first SELECT or WITH to the `;`."""
    said = spoken(text)[:_READ]
    fences = [body.strip() for name, body in _FENCE.findall(said) if name.casefold() in ("", "sql", "sqlite")]
    held = [body for body in fences if _start_of_sql(body) is not None]
    body = held[-1] if held else said
    start = _start_of_sql(body)
    if start is None:
        return None
    query = body[start:]
    if start and body[start - 1] == "`":
        query = query.partition("`")[0]
    if not held:
        query = query.partition("\n\n")[0].partition("```")[0].rstrip("`")
    return _one_statement(query).strip() or None


def _start_of_sql(text: str) -> int | None:
    for match in _SQL_START.finditer(text):
        if match[0].casefold().startswith("select") or _SQL_WITH.match(text, match.start()):
            return match.start()
    return None


def _one_statement(query: str) -> str:
    """Up to the first `;` that stands in no string."""
    quote = ""
    for at, letter in enumerate(query):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"`":
            quote = letter
        elif letter == ";":
            return query[:at]
    return query


def json(text: str) -> Any:
    """The JSON value an answer is or holds, slightly damaged JSON mended; None when it holds none (or null).

    Mending takes its time: of a text over 20,000 characters only whole JSON is read, bare or in a fence.
    """
    if len(text) <= _READ:
        try:
            return read_json(text)
        except NotJson:
            return None
    said = spoken(text)
    fence = _FENCE.search(said)
    for part in (said, fence[2] if fence else ""):
        try:
            return msgspec.json.decode(part)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            continue
    return None


def first_line(text: str) -> str:
    """The first line that is not empty."""
    return spoken(text).partition("\n")[0].strip()


def last_line(text: str) -> str:
    """The last line that is not empty."""
    return spoken(text).rpartition("\n")[2].strip()


def answer(text: str) -> str:
    """What follows the last "the answer is" or stands in a box; without either, the last line."""
    said = spoken(text)[-_READ:]
    boxed = _BOXED.findall(said)
    stated = [found["rest"] for found in _ANSWER.finditer(said)]
    found = boxed[-1] if boxed else stated[-1] if stated else last_line(said)
    return found.strip().rstrip(".").strip("*_`\"' ").rstrip(".").strip()
