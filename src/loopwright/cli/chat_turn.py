"""A conversation with a model: one turn streams an answer and measures it. Knows no terminal but the file it prints to."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from loopwright.cli.screen import clean
from loopwright.client import Client
from loopwright.core.errors import UpstreamBroke, UpstreamError


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One answer and what it took. Times are seconds."""

    model: str
    text: str
    ttft: float | None
    seconds: float
    input_tokens: int
    output_tokens: int
    counted: bool
    """The endpoint reported usage; otherwise tokens are events of the stream."""
    finish: str | None
    call_id: str | None
    stopped: bool
    """By Ctrl-C."""

    @property
    def tokens_per_second(self) -> float | None:
        """After the first token; None when fewer than two came."""
        if self.ttft is None or self.output_tokens < 2 or self.seconds <= self.ttft:
            return None
        return (self.output_tokens - 1) / (self.seconds - self.ttft)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        names = ("model", "text", "finish", "call_id", "input_tokens", "output_tokens", "stopped")
        told = {name: getattr(self, name) for name in names}
        return {**told, "ttft_s": self.ttft, "seconds": self.seconds, "tokens_per_second": self.tokens_per_second}


@dataclass(slots=True, kw_only=True)
class Talk:
    """What was said so far, and to whom."""

    client: Client
    model: str
    system: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    messages: list[dict[str, str]] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)

    def forget(self) -> None:
        """Begin anew; model and system text stay."""
        self.messages.clear()
        self.answers.clear()

    def total(self) -> dict[str, Any]:
        """What all answers together took."""
        return {
            "input_tokens": sum(answered.input_tokens for answered in self.answers),
            "output_tokens": sum(answered.output_tokens for answered in self.answers),
            "seconds": sum(answered.seconds for answered in self.answers),
        }

    def say(self, text: str, *, shown: TextIO | None) -> Answered:
        """Say `text` and take the answer, printed to `shown` as it comes. Ctrl-C ends the answer, not the program.

        What failed leaves no trace in the conversation; what was stopped stays as far as it came.

        Raises:
            LoopwrightError: refused, or the answer broke off.
        """
        said = {"role": "user", "content": text}
        first = [{"role": "system", "content": self.system}] if self.system else []
        body = {
            "model": self.model,
            "messages": [*first, *self.messages, said],
            "stream": True,
            "stream_options": {"include_usage": True},
            **self.parameters,
        }
        taking = _Taking(shown=shown)
        try:
            taking.follow(self.client.open("POST", "/v1/chat/completions", body=body))
        except KeyboardInterrupt:
            taking.stopped = True
            self.client.close()  # which tells the server to stop generating
        except (OSError, http.client.HTTPException) as error:
            self.client.close()
            raise UpstreamBroke("the connection broke in the middle of the answer\nSay it again") from error
        except BaseException:
            self.client.close()
            raise
        finally:
            taking.end_line()
        answered = taking.answered(self.model)
        if answered.text:
            self.messages += [said, {"role": "assistant", "content": answered.text}]
        self.answers.append(answered)
        return answered


@dataclass(slots=True, kw_only=True)
class _Taking:
    """One answer as it comes in."""

    shown: TextIO | None
    begun: float = field(default_factory=time.perf_counter)
    first: float | None = None
    parts: list[str] = field(default_factory=list)
    events: int = 0
    usage: Mapping[str, Any] | None = None
    finish: str | None = None
    call_id: str | None = None
    stopped: bool = False

    def follow(self, response: http.client.HTTPResponse) -> None:
        self.call_id = response.headers.get("x-loopwright-call-id")
        for data in _data(response):
            if data == "[DONE]":
                response.read()  # to the end, so that the connection can be used again
                return
            try:
                event = json.loads(data)
            except ValueError:
                raise UpstreamBroke(f"the answer holds an event that is no JSON: {data[:80]!r}") from None
            self._take(event)
        raise UpstreamBroke("the answer broke off before its end\nSay it again, and see `loopwright doctor`")

    def _take(self, event: Mapping[str, Any]) -> None:
        if event.get("error"):
            raise UpstreamError(str(event["error"].get("message") or "the model failed in the middle of the answer"))
        self.usage = event.get("usage") or self.usage
        for choice in event.get("choices") or ():
            self.finish = choice.get("finish_reason") or self.finish
            text = (choice.get("delta") or {}).get("content") or ""
            if not text:
                continue
            if self.first is None:
                self.first = time.perf_counter()
            self.events += 1
            self.parts.append(text)
            if self.shown is not None:
                self.shown.write(clean(text) if self.shown.isatty() else text)
                self.shown.flush()

    def end_line(self) -> None:
        if self.shown is not None and self.parts and not self.parts[-1].endswith("\n"):
            self.shown.write("\n")
            self.shown.flush()

    def answered(self, model: str) -> Answered:
        usage = self.usage or {}
        return Answered(
            model=model,
            text="".join(self.parts),
            ttft=None if self.first is None else self.first - self.begun,
            seconds=time.perf_counter() - self.begun,
            input_tokens=int(usage.get("prompt_tokens") or 0),
            output_tokens=int(usage.get("completion_tokens") or self.events),
            counted=self.usage is not None,
            finish=self.finish,
            call_id=self.call_id,
            stopped=self.stopped,
        )


def _data(response: http.client.HTTPResponse) -> Iterator[str]:
    """The data of each server-sent event, as it comes. Ours and every known upstream put it on one line."""
    for line in response:
        if line.startswith(b"data:"):
            yield line[5:].strip().decode("utf-8", "replace")
