"""`loopwright score`: how good an answer is, by number, word or verdict."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final

import typer

from loopwright.cli.calls import named
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import show_done
from loopwright.core.errors import BadRequest

app = typer.Typer(add_completion=False)
_VERDICTS: Final = {"pass": True, "passed": True, "true": True, "yes": True}
_FAILURES: Final = {"fail": False, "failed": False, "false": False, "no": False}


@app.command()
def score(
    call_id: Annotated[
        str,
        typer.Argument(help="Id of a call (`x-loopwright-call-id` of its answer), or `last`.", metavar="CALL_ID|last"),
    ],
    said: Annotated[
        list[str],
        typer.Argument(
            help="A number, yes or no, or a word: helpful=0.8 tone=friendly grounded=yes", metavar="NAME=VALUE…"
        ),
    ],
    *,
    explanation: Annotated[str, typer.Option(help="Why, for people.")] = "",
    author: Annotated[str | None, typer.Option(help="In whose name; else the key's.")] = None,
    source: Annotated[str, typer.Option(help="person, code or judge.")] = "person",
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Say how good the answer to a call is. The same name again takes back what was said before."""
    scores = [_read(each) for each in said]
    with reach(url, api_key) as client:
        call_id = named(client, call_id)
        given = [
            client.score(call_id, name, **value, explanation=explanation, author=author, source=source)
            for name, value in scores
        ]
    show_done(given, f"Noted {', '.join(each['name'] for each in given)} of call {call_id}.", as_json=as_json)


def _read(text: str) -> tuple[str, dict[str, Any]]:
    """Name and value of `name=value`: a number, a verdict, else a word."""
    name, sign, value = text.partition("=")
    if not sign or not name or not value.strip():
        raise BadRequest(f"{text[:80]!r}: write it as NAME=VALUE, such as helpful=0.8", param="NAME=VALUE")
    verdict = (_VERDICTS | _FAILURES).get(value.strip().lower())
    if verdict is not None:
        return name, {"passed": verdict}
    try:
        number = float(value)
    except ValueError:
        return name, {"label": value.strip()}
    if not math.isfinite(number):
        raise BadRequest(f"{text[:80]!r}: this is no finite number", param="NAME=VALUE")
    return name, {"value": number}
