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


def test_an_answer_is_given_again_by_any_worker_until_it_is_deleted(tmp_path: Path) -> None:
    house = House(tmp_path, config=CONFIG).start()
    try:

        def ask(question: str, model: str = "kept", **options: Any) -> tuple[str, str, str]:
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
