"""HTML: what a reader sees of a page's main part, as Markdown."""

from __future__ import annotations

import re
from typing import Any, Final

from bs4 import BeautifulSoup, Tag
from bs4.element import Comment, PageElement
from markdownify import MarkdownConverter

from loopwright.documents.decoding import cleaned, decoded
from loopwright.documents.document import Parsed
from loopwright.documents.limits import Limits
from loopwright.documents.sniffing import HTML

_NEVER: Final = (
    "script", "style", "noscript", "template", "svg", "math", "iframe", "object", "embed", "canvas", "audio", "video",
    "head", "input", "select", "textarea", "button", "dialog", "map", "link", "meta",
)  # fmt: skip
_CHARSET: Final = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)
_HIDDEN: Final = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|font-size\s*:\s*0*(?:\.0+)?(?:px|pt|em|rem|%)?\s*(?:;|!|$)"
    r"|opacity\s*:\s*0*(?:\.0+)?\s*(?:;|!|$)|(?:left|top|text-indent)\s*:\s*-\d{3,}",
    re.IGNORECASE,
)
_BESIDE: Final = ("nav", "aside", "footer", "header")


def read(data: bytes, kind: str, limits: Limits) -> Parsed:  # noqa: ARG001 - as every reader
    """The text of it."""
    said = _CHARSET.search(data[:4096])
    text, told = decoded(data, hint=said[1].decode("ascii") if said else None)
    text, more = cleaned(text)
    soup = BeautifulSoup(text, "lxml")
    metadata = _metadata(soup)
    title = metadata.pop("title", "")
    hidden = _drop_unseen(soup)
    if hidden:
        more.append(f"{hidden:,} characters that a reader of the page does not see were left out")
    shown = markdown_of(_main(soup))
    return Parsed(text=shown, media_type=HTML, title=title, metadata=metadata, warnings=[*told, *more])


class _Converter(MarkdownConverter):
    """Markdown without addresses: of a link what is shown, of a picture what it says instead."""

    def convert_a(self, el: Tag, text: str, parent_tags: set[str]) -> str:  # noqa: ARG002 - as the library calls it
        return text

    def convert_img(self, el: Tag, text: str, parent_tags: set[str]) -> str:  # noqa: ARG002 - as the library calls it
        return str(el.get("alt") or "")


def markdown_of(tree: Tag) -> str:
    """The Markdown of a tree of HTML."""
    converter = _Converter(
        heading_style="ATX", bullets="-", escape_asterisks=False, escape_underscores=False, escape_misc=False,
        table_infer_header=True, strong_em_symbol="*",
    )  # fmt: skip
    made: str = converter.convert_soup(tree)
    lines = (line.rstrip() for line in made.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


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


def _drop_unseen(soup: BeautifulSoup) -> int:
    """Take out what nobody sees; how many characters of text that were, scripts and styles not counted."""
    for element in soup.find_all(string=lambda text: isinstance(text, Comment)):
        element.extract()
    for tag in soup.find_all(_NEVER):
        tag.decompose()
    hidden = 0
    for tag in soup.find_all(_unseen):
        if not tag.decomposed:
            hidden += len(tag.get_text(strip=True))
            tag.decompose()
    return hidden


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
