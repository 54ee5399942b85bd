"""HTML: what a reader sees of a page's main part, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from bs4 import BeautifulSoup, Tag
from bs4.element import PageElement, PreformattedString

from loopwright.documents.decoding import cleaned, decoded
from loopwright.documents.document import Parsed
from loopwright.documents.limits import Limits
from loopwright.documents.marking import markdown_of
from loopwright.documents.sniffing import HTML

_NEVER: Final = (
    "script", "style", "noscript", "template", "svg", "math", "iframe", "object", "embed", "canvas", "audio", "video",
    "head", "input", "select", "textarea", "button", "dialog", "map", "link", "meta",
)  # fmt: skip
_CHARSET: Final = re.compile(
    rb"<(?:meta[^>]{0,200}?charset|\?xml[^>]{0,100}?encoding)\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE
)
_PROLOG: Final = re.compile(r"\A\s*<\?xml[^>]{0,200}\?>")
"""What makes a page XHTML, which is read as HTML all the same."""
_HIDDEN: Final = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|font-size\s*:\s*0*(?:\.0+)?(?:px|pt|em|rem|%)?\s*(?:;|!|$)"
    r"|opacity\s*:\s*0*(?:\.0+)?\s*(?:;|!|$)|(?:left|top|text-indent)\s*:\s*-\d{3,}",
    re.IGNORECASE,
)
_SELECTOR: Final = re.compile(r"(?:[A-Za-z][\w-]{0,40})?(?:[.#][\w-]{1,80}){1,4}")
"""Of a class or an id."""
_BESIDE: Final = ("nav", "aside", "footer", "header")


def read(data: bytes, kind: str, limits: Limits) -> Parsed:  # noqa: ARG001 - as every reader
    """The text of it."""
    said = _CHARSET.search(data[:4096])
    text, told = decoded(data, hint=said[1].decode("ascii") if said else None)
    text, more = cleaned(text)
    soup = BeautifulSoup(_PROLOG.sub("", text, count=1), "lxml")
    metadata = _metadata(soup)
    title = metadata.pop("title", "")
    hidden = _drop_unseen(soup, _hiding(soup))
    if hidden:
        more.append(f"{hidden:,} characters that a reader of the page does not see were left out")
    shown, _ = cleaned(markdown_of(_main(soup)))  # again: entities can say what bytes did not
    return Parsed(text=shown, media_type=HTML, title=title, metadata=metadata, warnings=[*told, *more])


def _main(soup: BeautifulSoup) -> Tag:
    body = soup.body or soup
    for tag in body.find_all(_BESIDE):
        if tag.find_parent(["main", "article"]) is None:
            tag.decompose()
    articles = body.find_all("article")
    main = body.select_one("main, [role=main]") or (articles[0] if len(articles) == 1 else None)
    if isinstance(main, Tag) and len(main.get_text()) * 2 > len(body.get_text()):
        return main
    return body


def _drop_unseen(soup: BeautifulSoup, hiding: list[str]) -> int:
    """Take out what nobody sees; how many characters of text that were, scripts and styles not counted."""
    for element in soup.find_all(string=lambda text: isinstance(text, PreformattedString)):
        element.extract()  # comments, and what else is no text
    for tag in soup.find_all(_NEVER):
        tag.decompose()
    most = len(soup.get_text()) // 2
    hidden = 0
    for tag in [*soup.find_all(_unseen), *(found for selector in hiding for found in soup.select(selector))]:
        # What hides half a page is shown by a script once it has loaded.
        if not tag.decomposed and (length := len(tag.get_text(strip=True))) <= most:
            hidden += length
            tag.decompose()
    return hidden


def _hiding(soup: BeautifulSoup) -> list[str]:
    """The plain selectors that the page's own style sheets hide. Not those for other media: what is not printed is seen."""
    found: dict[str, None] = {}
    for sheet in soup.find_all("style")[:20]:
        for selectors, body in _rules(sheet.get_text()):
            if _HIDDEN.search(body):
                found.update(
                    dict.fromkeys(each.strip() for each in selectors.split(",") if _SELECTOR.fullmatch(each.strip()))
                )
    return list(found)[:200]


def _rules(sheet: str) -> Iterator[tuple[str, str]]:
    """The rules of a style sheet that stand in no other."""
    depth = begins = opened = 0
    for sign in re.finditer(r"[{};]", sheet):
        at = sign.start()
        if sign[0] == "{":
            depth += 1
            opened = at if depth == 1 else opened
        elif sign[0] == "}" and depth:
            depth -= 1
            if depth == 0:
                selectors = sheet[begins:opened].strip()
                if not selectors.startswith("@"):
                    yield selectors[-500:], sheet[opened + 1 : at][:2000]
                begins = at + 1
        elif depth == 0:
            begins = at + 1


def _unseen(tag: PageElement) -> bool:
    if not isinstance(tag, Tag) or tag.name in ("html", "body"):
        return False
    return tag.has_attr("hidden") or bool(_HIDDEN.search(str(tag.get("style") or "")))


def _metadata(soup: BeautifulSoup) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if soup.title is not None and soup.title.get_text(strip=True):
        found["title"] = " ".join(soup.title.get_text().split())[:500]
    for name in ("author", "description", "keywords", "date"):
        tag = soup.find("meta", attrs={"name": name})
        if isinstance(tag, Tag) and tag.get("content"):
            found[name] = " ".join(str(tag["content"]).split())[:500]
    root = soup.find("html")
    if isinstance(root, Tag) and root.get("lang"):
        found["language"] = str(root["lang"])[:20]
    return found
