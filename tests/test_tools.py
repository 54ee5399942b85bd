from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel

import loopwright
from loopwright.core.errors import BadRequest


@dataclass
class Place:
    town: str
    zip: int | None = None


class Traveller(BaseModel):
    name: str


def book(place: Place, who: Traveller, nights: int = 1, kind: Literal["bed", "suite"] = "bed") -> str:
    """Book a room.

    Args:
        place: Where to sleep.
        nights (int): How many.

    Returns:
        A number.
    """
    return f"{place.town} {who.name} {nights} {kind}"


def test_a_function_becomes_a_tool() -> None:
    made = loopwright.tool(book)
    assert made["type"] == "function"
    function = made["function"]
    assert (function["name"], function["description"]) == ("book", "Book a room.")
    parameters = function["parameters"]
    assert parameters["required"] == ["place", "who"]
    assert parameters["properties"]["nights"] == {"type": "integer", "description": "How many.", "default": 1}
    assert parameters["properties"]["kind"]["enum"] == ["bed", "suite"]
    assert parameters["properties"]["place"]["properties"]["town"] == {"type": "string"}
    assert parameters["properties"]["who"]["required"] == ["name"]


def test_a_model_s_arguments_are_checked_and_the_function_run() -> None:
    made = loopwright.tool(book)
    assert made.run('{"place": {"town": "Bonn"}, "who": {"name": "Ada"}, "nights": "2"}') == "Bonn Ada 2 bed"
    with pytest.raises(BadRequest, match=r"\$\.nights"):
        made.run('{"place": {"town": "Bonn"}, "who": {"name": "Ada"}, "nights": "2.5"}')
    with pytest.raises(BadRequest, match="not JSON"):
        made.arguments("no")


def test_notes_of_annotations_describe() -> None:
    def wait(seconds: Annotated[int, "how long"]) -> None:
        """Wait."""

    assert loopwright.tool(wait)["function"]["parameters"]["properties"]["seconds"]["description"] == "how long"


def test_what_cannot_be_named_is_refused() -> None:
    def many(*each: int) -> None:
        """Take many."""

    with pytest.raises(BadRequest, match="'each' cannot be given by name"):
        loopwright.tool(many)


def test_operations_become_tools() -> None:
    pet: dict[str, Any] = {"type": "object", "properties": {"tag": {"type": "string", "nullable": True}}}
    document = {
        "paths": {
            "/pets/{id}": {
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
                "put": {
                    "operationId": "update pet",
                    "summary": "Change a pet.",
                    "requestBody": {"$ref": "#/components/requestBodies/Pet"},
                },
                "get": {"parameters": [{"name": "full", "in": "query", "schema": {"type": "boolean"}}]},
            }
        },
        "components": {
            "schemas": {"Pet": pet},
            "requestBodies": {
                "Pet": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}},
                }
            },
        },
    }
    get, put = loopwright.tools_from_openapi(document)
    assert (get["function"]["name"], put["function"]["name"]) == ("get_pets_id", "update_pet")
    assert put["function"]["parameters"]["required"] == ["id", "body"]
    body = put["function"]["parameters"]["properties"]["body"]
    assert body["properties"]["tag"] == {"type": ["string", "null"]}
    assert put.operation == {"method": "PUT", "path": "/pets/{id}", "in": {"id": "path", "body": "body"}}
    assert get.arguments('{"id": "7", "full": "true"}') == {"id": 7, "full": True}
    assert len(loopwright.tools_from_openapi(document, only=["update pet"])) == 1
    with pytest.raises(BadRequest, match="no operation"):
        loopwright.tools_from_openapi(document, only=["nothing"])
