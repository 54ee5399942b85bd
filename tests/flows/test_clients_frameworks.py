"""Frameworks as people use them, unmodified, against the house: real small models, and a script where these are too small."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.flows.house import House
from tests.flows.outside import environment, program, ran

CITIES = [{"city": "Oslo"}, {"city": "Rome"}]


def test_an_agent_of_langchain_uses_its_tools(house: House, tmp_path: Path) -> None:
    found = ran("agent_of_langchain.py", house, tmp_path)
    run = [
        ["human", "the weather?", []],
        ["ai", "Let me see.", CITIES],
        ["tool", "rain in Oslo", []],
        ["tool", "rain in Rome", []],
        ["ai", "It is rain in Rome.", []],
    ]
    assert found["chat"] == run
    assert found["responses"] == run
    assert found["streamed"] == ["Let me see.It is rain in Rome."] * 2
    assert found["person"] == {"name": "Ada", "age": 36}
    assert (found["usage"]["input_tokens"], found["usage"]["output_tokens"]) == (2, 2)
    [[name, arguments]] = found["called"]
    assert name == "weather"
    assert isinstance(arguments["city"], str)
    assert found["vectors"] == [384, 384]


def test_a_query_engine_of_llama_index_finds_and_answers(house: House, tmp_path: Path) -> None:
    found = ran("query_of_llama_index.py", house, tmp_path)
    [source] = found["sources"]
    assert "lighthouse" in source
    assert found["answer"].strip()
    assert found["pieces"] > 1
    assert found["streamed"].strip()


def test_collections_are_stores_and_retrievers_of_both_frameworks(house: House, tmp_path: Path) -> None:
    found = ran("collections_of_frameworks.py", house, tmp_path)
    store = found["langchain"]
    assert store["first"] == ["The lighthouse of Brunn is painted red and was built in 1871.", "lighthouse", 1871, 0]
    assert store["scores"] == sorted(store["scores"], reverse=True)
    assert 0.5 < store["scores"][0] <= 1
    assert sorted(store["filtered"]) == ["drum", "violin"]
    assert store["diverse"] == 2
    assert store["threshold"] == store["retriever"] == ["lighthouse"]
    assert store["by_id"] == ["Bread is baked from flour, water, salt and yeast."]
    assert store["deleted"] == [True, False]
    assert "name" in store["refused"]
    assert found["async"] == {"found": ["rain"], "together": ["lighthouse", "bread", "violin"], "deleted": True}
    assert found["llama_index"]["sources"] == ["lighthouse"]
    assert found["llama_index"]["prompted"]
    assert found["llama_index"]["node"] == ["bread", 0, 49, True]


def test_instructor_gets_its_models_and_asks_again(house: House, tmp_path: Path) -> None:
    found = ran("forms_of_instructor.py", house, tmp_path)
    assert found["tools"] == [{"name": "ADA", "age": 36}, 2]
    assert found["messages"] == [{"name": "ADA", "age": 36}, 2]
    assert found["mood"]["mood"] in ("glad", "sad")


def test_litellm_calls_in_each_dialect(house: House, tmp_path: Path) -> None:
    found = ran("calls_of_litellm.py", house, tmp_path)
    assert found["whole"] == ["one two", 2, 2]
    assert found["later"] == "later"
    assert found["streams"] == ["one two three"] * 2
    assert found["tools"] == [["Oslo", "Rome"]] * 2
    assert found["vectors"] == [384, 384]
    assert found["response"] == "three"
    assert found["errors"] == ["NotFoundError", "RateLimitError"]


def test_the_llm_command_talks_to_the_house(house: House, tmp_path: Path) -> None:
    models = [
        {"model_id": name, "model_name": name, "api_base": f"{house.url}/v1", "api_key_name": "house"}
        | {"supports_tools": True, "supports_schema": True}
        for name in ("script", "smollm2-135m-instruct")
    ]
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models))  # JSON is YAML
    (tmp_path / "keys.json").write_text(json.dumps({"house": house.key}))
    env: Any = environment(house, tmp_path) | {"LLM_USER_PATH": str(tmp_path)}

    def llm(*arguments: str) -> str:
        done = subprocess.run(
            [program("llm"), *arguments], env=env, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    assert llm("-m", "script", "-s", "be kind", "hello there") == "hello there"
    tool = 'def weather(city: str) -> str:\n    "The weather."\n    return f"rain in {city}"'
    assert llm("-m", "script", "--functions", tool, "the weather?").endswith("It is rain in Rome.")
    schema = "mood: glad or sad, strength int"
    said = llm("-m", "smollm2-135m-instruct", "--no-stream", "--schema", schema, "-o", "max_tokens", "80", "I won!")
    assert isinstance(json.loads(said)["strength"], int)
