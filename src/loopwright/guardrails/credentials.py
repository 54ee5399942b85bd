"""Keys and passwords: by the marks their makers give them, or by what stands before them. Linear in the text's length."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from loopwright.guardrails.checksums import varied
from loopwright.guardrails.span import Span

_MARKED: Final = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"sk-[A-Za-z0-9_-]{16,256}"  # OpenAI, Anthropic (sk-ant-), OpenRouter, DeepSeek, LiteLLM
    r"|lw-[A-Za-z0-9_-]{40,64}"  # our own
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"  # AWS
    r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,512}"  # Google
    r"|gh[opsur]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}|glpat-[A-Za-z0-9_-]{20,64}"  # GitHub, GitLab
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,255}"  # Slack
    r"|hf_[A-Za-z0-9]{30,64}|gsk_[A-Za-z0-9]{40,64}|r8_[A-Za-z0-9]{37}|nvapi-[A-Za-z0-9_-]{40,128}"  # Hugging Face, Groq
    r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,128}"  # Stripe
    r"|SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}"  # SendGrid
    r"|npm_[A-Za-z0-9]{36}|pypi-AgE[A-Za-z0-9_-]{50,512}|dop_v1_[a-f0-9]{64}"  # package registries, DigitalOcean
    r"|AGE-SECRET-KEY-1[A-Z0-9]{58}|[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"  # age, Telegram
    r"|eyJ[A-Za-z0-9_-]{8,4096}+\.eyJ[A-Za-z0-9_-]{8,8192}+(?:\.[A-Za-z0-9_-]{0,2048}+)?"  # JSON web tokens
    r")(?![A-Za-z0-9_])"
)
_IN_URL: Final = re.compile(r"(?<=://)[^\s:/@]{0,64}+:([^\s/@\"']{1,128}+)@")
_SAID: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:password|passwd|pwd|passphrase|passwort|secret|secret[ _-]?key|access[ _-]?key|api[ _-]?key"
    r"|auth[ _-]?token|access[ _-]?token)[\"']?[ \t]{0,4}(?:is[ \t]{1,2}|[:=]{1,2})[ \t]{0,4}[\"']?"
    r"([^\s\"'`,;<>]{8,128}+)",
    re.IGNORECASE,
)
_BEGIN: Final = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_END: Final = re.compile(r"-----END [A-Z0-9 ]{0,48}-----")


def credentials(text: str) -> Iterator[Span]:
    """Every key and password in `text`; a password only where the text says that it is one."""
    if "-----BEGIN " in text:
        yield from _private_keys(text)
    for found in _MARKED.finditer(text):
        if varied(found[0]):
            yield Span(found.start(), found.end(), "secret")
    if "://" in text:
        for found in _IN_URL.finditer(text):
            yield Span(found.start(1), found.end(1), "secret")
    for found in _SAID.finditer(text):
        value = found[1].rstrip(".)")
        if _unlike_a_word(value):
            yield Span(found.start(1), found.start(1) + len(value), "secret")


def _private_keys(text: str) -> Iterator[Span]:
    """Blocks from their first line to their last; one that is cut off goes on to the end of the text."""
    at = 0
    while (begin := _BEGIN.search(text, at)) is not None:
        end = _END.search(text, begin.end())
        at = len(text) if end is None else end.end()
        yield Span(begin.start(), at, "secret")


def _unlike_a_word(value: str) -> bool:
    """Letters with digits, and no placeholder such as `$PASSWORD` or `{{password}}`."""
    return (
        len(value) >= 8
        and any(char.isdigit() for char in value)
        and any(char.isalpha() for char in value)
        and value[0] not in "${[("
    )
