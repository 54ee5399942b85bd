"""Frameworks as they are instrumented by others, telling of their calls by OTLP: `OTLP_URL KEY GATEWAY_MODEL`.

The model that they ask stands in this very program, so nobody but their telemetry tells the house of it; what is asked of
GATEWAY_MODEL goes through the house. Prints the ids of the traces by who made them.
"""

import json
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from llama_index.llms.openai_like import OpenAILike
from openinference.instrumentation import using_session
from openinference.instrumentation.langchain import LangChainInstrumentor
from openinference.instrumentation.llama_index import LlamaIndexInstrumentor
from openinference.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.openai import OpenAIInstrumentor as Traceloop
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

OTLP, KEY, GATEWAY_MODEL = sys.argv[1:4]
ANSWER = {
    "id": "chatcmpl-elsewhere", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "A fine day."}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 30, "completion_tokens": 8, "total_tokens": 38, "prompt_tokens_details": {"cached_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 4},
    },
}  # fmt: skip


class Elsewhere(BaseHTTPRequestHandler):
    """A model of somebody else."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
threading.Thread(target=server.serve_forever, daemon=True).start()
BASE = f"http://127.0.0.1:{server.server_port}/v1"
provider = TracerProvider(resource=Resource.create({"service.name": "frameworks", "deployment.environment": "test"}))
provider.add_span_processor(
    BatchSpanProcessor(OTLPSpanExporter(f"{OTLP}/v1/traces", headers={"authorization": f"Bearer {KEY}"}))
)
tracer = provider.get_tracer("flows")
ASKED: Any = [{"role": "user", "content": "What is the weather?"}]
found: dict[str, str] = {}


def _weather(city: str) -> str:
    """The weather of a city."""
    return f"fine in {city}"


weather = tool("weather")(_weather)


def traced(name: str, ask: Callable[[], object]) -> None:
    with tracer.start_as_current_span(name) as span, using_session(f"talk of {name}"):
        found[name] = f"{span.get_span_context().trace_id:032x}"
        ask()


def instrumented(instrumentor: Any, name: str, ask: Callable[[], object]) -> None:
    instrumentor.instrument(tracer_provider=provider)
    try:
        traced(name, ask)
    finally:
        with suppress(Exception):
            instrumentor.uninstrument()


def main() -> None:
    client = openai.OpenAI(base_url=BASE, api_key="none")
    ours = openai.OpenAI(base_url=f"{OTLP.removesuffix('/otlp')}/v1", api_key=KEY)
    instrumented(
        OpenAIInstrumentor(),
        "openinference",
        lambda: client.chat.completions.create(model="gpt-4o-mini", messages=ASKED),
    )
    instrumented(
        Traceloop(), "openllmetry", lambda: client.chat.completions.create(model="gpt-4o-mini", messages=ASKED)
    )
    instrumented(Traceloop(), "through", lambda: ours.chat.completions.create(model=GATEWAY_MODEL, messages=ASKED))

    def chain() -> None:
        weather.invoke({"city": "Oslo"})
        ChatOpenAI(model="gpt-4o-mini", base_url=BASE, api_key="none").invoke("What is the weather?")

    instrumented(LangChainInstrumentor(), "langchain", chain)
    instrumented(
        LlamaIndexInstrumentor(),
        "llama_index",
        lambda: OpenAILike(model="gpt-4o-mini", api_base=BASE, api_key="none", is_chat_model=True).complete(
            "What is the weather?"
        ),
    )
    provider.shutdown()
    sys.stdout.write(json.dumps(found))


main()
