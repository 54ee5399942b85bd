"""Reads what browsers send: bounded bodies, url-encoded forms, and addresses that stay on this site."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from loopwright.core.errors import BadRequest, Refused, TooLarge

FORM_LIMIT = 1_000_000
"""Bytes of a form."""


async def body_of(request: Request, limit: int) -> bytes:
    """The whole body, refused as soon as it is longer than `limit` bytes.

    Raises:
        TooLarge: it is longer.
    """
    pieces = bytearray()
    async for piece in request.stream():
        pieces += piece
        if len(pieces) > limit:
            raise TooLarge(f"the form is over {limit:,} bytes")
    return bytes(pieces)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a url-encoded form; of a repeated one the last counts.

    Raises:
        BadRequest: another encoding, not UTF-8, or over 100 fields.
        TooLarge: over a megabyte.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadRequest(f"forms are application/x-www-form-urlencoded, not {kind or 'without a content type'}")
    raw = await body_of(request, FORM_LIMIT)
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=100, errors="strict")
    except ValueError:
        raise BadRequest("the form cannot be read: it is not UTF-8, or has too many fields") from None
    # Browsers send line ends as CR LF; what people typed has LF.
    return {name: value.replace("\r\n", "\n") for name, value in pairs}


def check_same_site(headers: Mapping[str, str], host: str) -> None:
    """Refuse a change that another site asked for. Pages cannot forge these headers; other clients leave them out.

    Raises:
        Refused: it came from elsewhere.
    """
    fetched = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    # `Origin` decides only for browsers that do not say more: a proxy may have rewritten `Host`.
    foreign = fetched is None and origin is not None and urlsplit(origin).netloc != host
    if fetched not in (None, "same-origin", "none") or foreign:
        raise Refused("this form was sent from another site: open the page here and send it again")


def local_path(address: str | None, fallback: str = "/overview") -> str:
    """`address` when it is a path of this site, else `fallback`: nobody is sent elsewhere."""
    if not address or not address.startswith("/") or address.startswith("//"):
        return fallback
    if "\\" in address or not address.isprintable():
        return fallback
    return address
