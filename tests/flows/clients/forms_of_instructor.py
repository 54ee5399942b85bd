"""Instructor: pydantic models out, by tools and by schema, asked again when a validator of the client's says no."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Literal

import instructor
from anthropic import Anthropic
from openai import OpenAI
from pydantic import BaseModel, field_validator


class Person(BaseModel):
    """Somebody whose name is shouted, which no JSON schema says."""

    name: str
    age: int

    @field_validator("name")
    @classmethod
    def shouted(cls, name: str) -> str:
        """As it is."""
        if not name.isupper():
            raise ValueError("the name must be in capitals")
        return name


class Mood(BaseModel):
    """How somebody feels."""

    mood: Literal["glad", "sad"]
    strength: int


def asked(client: Any, **how: Any) -> list[Any]:
    """A person, and how often the model was asked."""
    calls: list[object] = []
    client.on("completion:kwargs", lambda **kwargs: calls.append(kwargs))
    messages = [{"role": "user", "content": "shout"}]
    person = client.create(model="script", response_model=Person, messages=messages, max_retries=3, **how)
    return [person.model_dump(), len(calls)]


def main() -> None:
    """Everything, as one JSON object."""
    openai = OpenAI(max_retries=0, timeout=120)
    claude = Anthropic(
        base_url=os.environ["OPENAI_BASE_URL"].removesuffix("/v1"),
        api_key=os.environ["OPENAI_API_KEY"],
        max_retries=0,
        timeout=120,
    )
    schemas = instructor.from_openai(openai, mode=instructor.Mode.JSON_SCHEMA)
    lottery = [{"role": "user", "content": "I won the lottery! What is my mood?"}]
    mood = schemas.create(model="smollm2-135m-instruct", response_model=Mood, messages=lottery, max_tokens=60)
    found = {
        "tools": asked(instructor.from_openai(openai, mode=instructor.Mode.TOOLS)),
        "messages": asked(instructor.from_anthropic(claude, mode=instructor.Mode.ANTHROPIC_TOOLS), max_tokens=99),
        "mood": mood.model_dump(),
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
