"""LangChain's agent with tools, its structured output and its embeddings; told of the house by the environment alone."""

from __future__ import annotations

import json
import sys
from typing import Any

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

ASK = {"messages": [{"role": "user", "content": "the weather?"}]}
REAL = "smollm2-135m-instruct"


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


def weather(city: str) -> str:
    """The weather of a city."""
    return f"rain in {city}"


def agent(*, responses: bool) -> Any:
    """An agent over chats, or over OpenAI's Responses."""
    model = ChatOpenAI(model="script", temperature=0, max_retries=0, use_responses_api=responses)
    return create_agent(model, [weather], system_prompt="Be brief.")


def asked(*, responses: bool) -> list[Any]:
    """What each message of a run is, says and calls."""
    return [
        [message.type, message.text, [call["args"] for call in getattr(message, "tool_calls", ())]]
        for message in agent(responses=responses).invoke(ASK)["messages"]
    ]


def streamed(*, responses: bool) -> str:
    """The words of the last turn, piece by piece."""
    pieces = [
        piece
        for piece, about in agent(responses=responses).stream(ASK, stream_mode="messages")
        if about["langgraph_node"] == "model"
    ]
    assert len(pieces) > 4
    return "".join(piece.text for piece in pieces)


def main() -> None:
    """Everything, as one JSON object."""
    real = ChatOpenAI(model=REAL, temperature=0, max_retries=0, max_tokens=80)
    called: Any = real.bind_tools([weather], tool_choice="weather").invoke("How is the weather in Bonn?")
    chat = ChatOpenAI(model="script", max_retries=0)
    vectors = OpenAIEmbeddings(model="all-minilm-l6-v2", check_embedding_ctx_length=False, max_retries=0)
    found = {
        "chat": asked(responses=False),
        "responses": asked(responses=True),
        "streamed": [streamed(responses=False), streamed(responses=True)],
        "person": chat.with_structured_output(Person, method="json_schema").invoke("person").model_dump(),
        "usage": chat.invoke("one two").usage_metadata,
        "called": [[call["name"], call["args"]] for call in called.tool_calls],
        "vectors": [len(vector) for vector in vectors.embed_documents(["one", "two"])],
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
