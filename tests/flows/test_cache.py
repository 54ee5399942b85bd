from functools import partial
from pathlib import Path
from typing import Any

from openai import OpenAI

from tests.flows.house import House, wait

CONFIG = """
server: {workers: 2}
providers:
  fake: {kind: scripted, args: {otherwise: "said: $last", between: 0.001}}
models:
  kept: {provider: fake, price: {input: 1.0, output: 2.0}, cache: {ttl: 1h}}
  brief: {provider: fake, cache: {ttl: 1s}}
"""


def asked(house: House, question: str, model: str = "kept", **options: Any) -> tuple[str, str, str]:
    """What the cache did, the text, and the call."""
    # A client of its own is a connection of its own, so both workers get some.
    with OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(
            model=model,
            messages=[{"role": "user", "content": question}],
            temperature=0,
            **options,
        )
        found = raw.parse()
        if options.get("stream"):
            text = "".join(event.choices[0].delta.content or "" for event in found if event.choices)
        else:
            text = found.choices[0].message.content or ""
        return raw.headers["x-loopwright-cache"], text, raw.headers["x-loopwright-call-id"]


def test_an_answer_is_given_again_by_any_worker_until_it_is_deleted(tmp_path: Path) -> None:
    house = House(tmp_path, config=CONFIG).start()
    try:
        ask = partial(asked, house)
        kind, text, first = ask("hello", stream=True)
        assert (kind, text) == ("miss", "said: hello")
        wait(lambda: all(ask("hello")[0] == "hit" for _ in range(8)))
        kind, text, hit = ask("hello", stream=True)
        assert (kind, text) == ("hit", "said: hello")
        assert ask("hello", extra_headers={"cache-control": "no-cache"})[0] == "miss"
        shown = house.api("GET", f"/api/cache/hits/{hit}").json()
        assert shown["kind"] == "hit"
        assert shown["matched"]["messages"] == shown["asked"]["messages"]
        call = house.api("GET", f"/api/calls/{hit}").json()["call"]
        assert (call["provider"], float(call["cost_usd"])) == ("cache", 0.0)
        assert first
        wait(lambda: house.api("GET", "/api/cache").json()["hits"] >= 9)
        assert float(house.api("GET", "/api/cache").json()["saved_usd"]) > 0
        assert ask("bye", model="brief")[0] == "miss"
        wait(lambda: ask("bye", model="brief")[0] == "hit")
        wait(lambda: ask("bye", model="brief")[0] == "miss")
        assert house.api("POST", f"/api/cache/hits/{hit}/wrong").json()["counted"] is True
        misses: list[str] = []

        def known() -> bool:
            kind, _, call_id = ask("forget me")
            misses.extend([call_id] if kind == "miss" else [])
            return kind == "hit"

        assert not known()
        wait(lambda: all(known() for _ in range(8)))
        for call_id in misses:
            assert house.api("DELETE", f"/api/calls/{call_id}").json() == {"deleted": 1}
        # Nothing else ends it within the hour it is kept.
        wait(lambda: not known())
    finally:
        assert house.stop() == 0, house.log.read_text()


def test_a_whole_answer_lies_with_its_call_and_outlives_every_process(tmp_path: Path) -> None:
    house = House(tmp_path, config=CONFIG).start()
    try:
        ask = partial(asked, house, "remember me")
        kind, text, call_id = ask()
        assert kind == "miss"
        house.settled()
        house.kill()
        house.start()
        # Asked again and again, both workers tell that they know of it.
        wait(lambda: all(house.api("GET", "/api/cache").json()["worker"]["known"] for _ in range(8)))
        found = [ask() for _ in range(8)]
        assert {each[:2] for each in found} == {("hit", text)}
        hits = [house.api("GET", f"/api/cache/hits/{each[2]}").json() for each in found]
        assert {hit["matched_call_id"] for hit in hits} == {call_id}
        assert house.api("GET", "/api/cache").json()["on_record"] == 1
        assert house.api("POST", f"/api/cache/hits/{found[0][2]}/wrong").json()["counted"] is True
        assert house.api("GET", f"/api/calls/{call_id}").status_code == 200, "the call stays"
        assert house.api("GET", "/api/cache").json()["on_record"] == 0
        wait(lambda: ask()[0] == "miss")
    finally:
        assert house.stop() == 0, house.log.read_text()
