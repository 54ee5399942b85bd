"""Batches on the house's own engine: they wait for what people ask, and end all the same."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any

from openai import OpenAI

from tests.flows.house import House, wait

MODEL = "smollm2-135m-instruct"


def made(client: OpenAI, url: str, bodies: list[dict[str, Any]]) -> str:
    rows = [{"custom_id": f"c{n}", "method": "POST", "url": url, "body": body} for n, body in enumerate(bodies)]
    raw = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    file = client.files.create(file=("in.jsonl", raw), purpose="batch")
    endpoint: Any = url
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h").id


def ended(client: OpenAI, batch_id: str) -> Any:
    wait(lambda: client.batches.retrieve(batch_id).status == "completed")
    return client.batches.retrieve(batch_id)


def test_a_batch_leaves_the_engine_to_people(house: House) -> None:
    client = OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0)
    engines = {each["name"]: each for each in house.api("GET", "/api/status").json()["engines"]}
    slots = engines[MODEL]["slots"]
    speaking = Barrier(slots + 1)

    def talk(number: int) -> None:
        stream = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": f"Count to a thousand, please. {number}"}],
            max_tokens=300,
            stream=True,
            extra_body={"loopwright": {"tags": {"who": "people"}}, "ignore_eos": True},
        )
        next(stream)
        speaking.wait(120)
        for _ in stream:
            pass

    with ThreadPoolExecutor(slots) as pool:
        talks = [pool.submit(talk, number) for number in range(slots)]
        speaking.wait(120)
        question = [{"role": "user", "content": "Say hello."}]
        batch_id = made(
            client, "/v1/chat/completions", [{"model": MODEL, "messages": question, "max_tokens": 8}] * (slots * 2)
        )
        for each in talks:
            each.result()
    found = ended(client, batch_id)
    assert found.request_counts.completed == slots * 2
    house.settled()
    people = house.calls(tag="who:people")[:slots]
    asked = house.calls(tag=f"loopwright.batch:{batch_id}")
    assert len(asked) == slots * 2
    free = min(
        datetime.fromisoformat(call["started_at"]) + timedelta(microseconds=call["latency_us"]) for call in people
    )
    began = min(datetime.fromisoformat(call["started_at"]) for call in asked)
    assert began >= free - timedelta(milliseconds=5)  # a call is on record in milliseconds, its length in micro


def test_embeddings_of_a_batch(house: House) -> None:
    client = OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0)
    batch_id = made(client, "/v1/embeddings", [{"model": "all-minilm-l6-v2", "input": f"text {n}"} for n in range(20)])
    found = ended(client, batch_id)
    rows = [json.loads(each) for each in client.files.content(found.output_file_id).text.splitlines()]
    assert len(rows) == 20
    assert all(len(row["response"]["body"]["data"][0]["embedding"]) == 384 for row in rows)
