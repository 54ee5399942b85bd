"""Which model a collection's vectors come from: the one that was named, where whoever named it may."""

from __future__ import annotations

from collections.abc import Sequence

from loopwright.core.errors import BadRequest, Refused
from loopwright.core.who import Principal
from loopwright.kit.nearest import hint


def embedder_of(who: Principal, name: str | None, *, able: Sequence[str], default: str | None = None) -> str:
    """A model of `able`, which embed, that `who` may call: by its name, else `default`, else the first.

    Raises:
        BadRequest: there is none.
        Refused: the key may not call it.
    """
    chosen = name or default or next(iter(able), None)
    if chosen is None:
        raise BadRequest("no model here embeds texts: configure one", param="embedder")
    if chosen not in able:
        raise BadRequest(f"embedder: {chosen[:80]!r} embeds nothing here{hint(chosen, able)}", param="embedder")
    if not who.may_call(chosen):
        raise Refused(f"key {who.key_name!r} may not call {chosen!r}{hint(chosen, who.models or ())}", param="embedder")
    return chosen
