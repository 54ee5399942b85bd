"""The 25 instructions of IFEval, each a check of the answer (Zhou et al. 2023, arXiv 2311.07911).

Written anew from the definitions of the reference, and held to its verdicts. Where that uses patterns that take
quadratic time on a hostile answer, this scans; where it takes keywords for patterns, this takes them for texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from loopwright.evals.language import language
from loopwright.evals.sentences import sentences, words_apart

Check = Callable[[str, Mapping[str, Any]], bool]
_LONGEST: Final = 2_000
"""Characters of a keyword or phrase; prompts to repeat may be longer."""
_LANGUAGES: Final = re.compile(r"[a-z]{2,3}(?:-[a-zA-Z]{2,4})?")
_WORD: Final = re.compile(r"\w+")
_HIGHLIGHT: Final = re.compile(r"\*[^\n*]*\*")
_DOUBLE: Final = re.compile(r"\*\*[^\n*]*\*\*")
_DIVIDER: Final = re.compile(r"\s?\*\*\*\s?")
_POSTSCRIPTS: Final[Mapping[str, re.Pattern[str]]] = {
    "P.P.S": re.compile(r"p\.\s?p\.\s?s"),
    "P.S.": re.compile(r"p\.\s?s\."),
}
_ANSWERS: Final = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


class Malformed(ValueError):
    """An instruction's arguments are not what it takes."""


def _text(given: Mapping[str, Any], name: str, longest: int = _LONGEST) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        raise Malformed(f"{name} is a text of at most {longest} characters")
    return value


def _texts(given: Mapping[str, Any], name: str) -> list[str]:
    value = given.get(name)
    if not isinstance(value, list | tuple) or not value or len(value) > 1000:
        raise Malformed(f"{name} is a list of texts")
    return [_text({name: each}, name) for each in value]


def _number(given: Mapping[str, Any], name: str) -> int:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != int(value):
        raise Malformed(f"{name} is a whole number from 0 up")
    return int(value)


def _related(count: int, given: Mapping[str, Any], number: str, relation: str = "relation") -> bool:
    wanted, how = _number(given, number), given.get(relation)
    if how == "less than":
        return count < wanted
    if how == "at least":
        return count >= wanted
    raise Malformed(f"{relation} is `less than` or `at least`")


def _keywords(text: str, given: Mapping[str, Any]) -> bool:
    return all(re.search(re.escape(each), text, re.IGNORECASE) for each in _texts(given, "keywords"))


def _keyword_frequency(text: str, given: Mapping[str, Any]) -> bool:
    keyword = re.escape(_text(given, "keyword").strip())
    return _related(sum(1 for _ in re.finditer(keyword, text, re.IGNORECASE)), given, "frequency")


def _forbidden(text: str, given: Mapping[str, Any]) -> bool:
    return not any(
        re.search(rf"\b{re.escape(each)}\b", text, re.IGNORECASE) for each in _texts(given, "forbidden_words")
    )


def _letter_frequency(text: str, given: Mapping[str, Any]) -> bool:
    letter = _text(given, "letter").strip().lower()
    if len(letter) != 1:
        raise Malformed("letter is one character")
    return _related(text.lower().count(letter), given, "let_frequency", "let_relation")


def _response_language(text: str, given: Mapping[str, Any]) -> bool:
    wanted = _text(given, "language")
    if not _LANGUAGES.fullmatch(wanted):
        raise Malformed("language is an ISO 639-1 code")
    return language(text) in (wanted.partition("-")[0], None)


def _number_sentences(text: str, given: Mapping[str, Any]) -> bool:
    return _related(len(sentences(text)), given, "num_sentences")


def _number_words(text: str, given: Mapping[str, Any]) -> bool:
    return _related(sum(1 for _ in _WORD.finditer(text)), given, "num_words")


def _number_paragraphs(text: str, given: Mapping[str, Any]) -> bool:
    parts = _DIVIDER.split(text)
    if any(not part.strip() for part in parts[1:-1]):
        return False
    return sum(1 for part in parts if part.strip()) == _number(given, "num_paragraphs")


def _nth_paragraph(text: str, given: Mapping[str, Any]) -> bool:
    wanted, nth = _number(given, "num_paragraphs"), _number(given, "nth_paragraph")
    if not 1 <= nth <= max(wanted, 1):
        raise Malformed("nth_paragraph is one of the paragraphs, from 1")
    parts = text.split("\n\n")
    filled = sum(1 for part in parts if part.strip())
    if nth > filled or not parts[nth - 1].strip():
        return False
    first = parts[nth - 1].split()[0].lstrip("'").lstrip('"')
    first = re.split(r"[.,?!'\"]", first, maxsplit=1)[0].lower()
    return filled == wanted and first == _text(given, "first_word").lower()


def _placeholders(text: str, given: Mapping[str, Any]) -> bool:
    count = 0
    for line in text.split("\n"):
        at = line.find("[")
        while at >= 0:
            end = line.find("]", at + 1)
            if end < 0:
                break
            count += 1
            at = line.find("[", end + 1)
    return count >= _number(given, "num_placeholders")


def _postscript(text: str, given: Mapping[str, Any]) -> bool:
    marker = _text(given, "postscript_marker").strip()
    pattern = _POSTSCRIPTS.get(marker)
    return pattern.search(text.lower()) is not None if pattern is not None else marker.lower() in text.lower()


def _bullets(text: str, given: Mapping[str, Any]) -> bool:
    count = 0
    lines = iter(text.split("\n"))
    for line in lines:
        begun = line.lstrip()
        if begun == "*":
            # A star alone: the reference's pattern takes the line after it for the point.
            count += next(lines, None) is not None
        else:
            count += begun.startswith("-") or (begun.startswith("*") and not begun.startswith("**"))
    return count == _number(given, "num_bullets")


def _constrained(text: str, given: Mapping[str, Any]) -> bool:
    del given
    return any(each in text for each in _ANSWERS)


def _highlights(text: str, given: Mapping[str, Any]) -> bool:
    count = sum(1 for each in _HIGHLIGHT.finditer(text) if each[0].strip("*").strip())
    count += sum(1 for each in _DOUBLE.finditer(text) if each[0][2:-2].strip())
    return count >= _number(given, "num_highlights")


def _sections(text: str, given: Mapping[str, Any]) -> bool:
    splitter = re.escape(_text(given, "section_spliter").strip())
    return sum(1 for _ in re.finditer(rf"{splitter}\s?\d", text)) >= _number(given, "num_sections")


def _json(text: str, given: Mapping[str, Any]) -> bool:
    del given
    plain = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        plain = plain.removeprefix(fence)
    try:
        json.loads(plain.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str, given: Mapping[str, Any]) -> bool:
    del given
    for line in text.split("\n"):
        begin, end = line.find("<<"), line.rfind(">>")
        if begin >= 0 and end - begin >= 3 and line[begin : end + 2].lstrip("<").rstrip(">").strip():
            return True
    return False


def _two_responses(text: str, given: Mapping[str, Any]) -> bool:
    del given
    parts = text.split("******")
    if any(not part.strip() for part in parts[1:-1]):
        return False
    filled = [part.strip() for part in parts if part.strip()]
    return len(filled) == 2 and filled[0] != filled[1]


def _repeats(text: str, given: Mapping[str, Any]) -> bool:
    wanted = _text(given, "prompt_to_repeat", longest=100_000)
    return text.strip().lower().startswith(wanted.strip().lower())


def _ends(text: str, given: Mapping[str, Any]) -> bool:
    return text.strip().strip('"').lower().endswith(_text(given, "end_phrase").strip().lower())


def _capital_words(text: str, given: Mapping[str, Any]) -> bool:
    count = sum(1 for word in words_apart(text) if word.isupper())
    return _related(count, given, "capital_frequency", "capital_relation")


def _all_capital(text: str, given: Mapping[str, Any]) -> bool:
    del given
    return text.isupper() and language(text) in ("en", None)


def _all_lower(text: str, given: Mapping[str, Any]) -> bool:
    del given
    return text.islower() and language(text) in ("en", None)


def _no_comma(text: str, given: Mapping[str, Any]) -> bool:
    del given
    return "," not in text


def _quoted(text: str, given: Mapping[str, Any]) -> bool:
    del given
    plain = text.strip()
    return len(plain) > 1 and plain[0] == plain[-1] == '"'


CHECKS: Final[Mapping[str, Check]] = {
    "keywords:existence": _keywords,
    "keywords:frequency": _keyword_frequency,
    "keywords:forbidden_words": _forbidden,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _response_language,
    "length_constraints:number_sentences": _number_sentences,
    "length_constraints:number_paragraphs": _number_paragraphs,
    "length_constraints:number_words": _number_words,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _constrained,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeats,
    "startend:end_checker": _ends,
    "startend:quotation": _quoted,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": _all_capital,
    "change_case:english_lowercase": _all_lower,
    "punctuation:no_comma": _no_comma,
}
