"""The playground as a form, and its stream."""

import re
import time

import httpx

from tests.console.housing import House, csrf


def test_the_playground_answers_without_scripts(house: House, boss: httpx.Client) -> None:
    token = csrf(boss.get("/playground"))
    fields = {"csrf": token, "model": "parrot", "model_b": "mynah", "prompt": "echo me", "max_tokens": "20"}
    answer = boss.post("/playground", data=fields)
    assert answer.status_code == 200
    assert answer.text.count('<div class="text" id="turn-') == 2
    call_id = re.findall(r'href="/calls/([0-9a-f-]{36})"', answer.text)[0]
    house.drained()
    call = boss.get(f"/calls/{call_id}.json").json()["call"]
    assert call["key_id"] == house.key_id("boss")
    assert call["client"] == "loopwright console"
    assert boss.post("/playground", data={**fields, "prompt": " "}).status_code == 400
    assert "not a number" in boss.post("/playground", data={**fields, "seed": "x"}).text
    assert "slow down" in boss.post("/playground", data={**fields, "prompt": "refuse"}).text


def test_the_stream_needs_session_and_token(house: House, boss: httpx.Client) -> None:
    body = {"model": "parrot", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    assert boss.post("/playground/chat", json=body).status_code == 403
    with house.client() as nobody:
        assert nobody.post("/playground/chat", json=body).status_code == 401
    token = {"x-csrf-token": csrf(boss.get("/playground"))}
    answer = boss.post("/playground/chat", json=body, headers=token)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")
    unknown = boss.post("/playground/chat", json={**body, "model": "parot"}, headers=token)
    assert unknown.status_code == 404
    assert "parrot" in unknown.json()["error"]["message"]
    assert boss.post("/playground/chat", json={**body, "messages": []}, headers=token).status_code == 400
    cut = boss.post("/playground/chat", json={**body, "messages": [{"role": "user", "content": "fail"}]}, headers=token)
    assert '"code":"upstream_broke"' in cut.text
    whole = boss.post("/playground/chat", json={**body, "stream": False}, headers=token)
    assert whole.json()["choices"][0]["message"]["content"] == "hi"


def test_a_reader_that_leaves_stops_the_answer(house: House, boss: httpx.Client) -> None:
    headers = {"x-csrf-token": csrf(boss.get("/playground"))}
    body = {"model": "parrot", "messages": [{"role": "user", "content": "long"}], "stream": True}
    with boss.stream("POST", "/playground/chat", json=body, headers=headers) as answer:
        call_id = answer.headers["x-loopwright-call-id"]
        next(answer.iter_bytes())
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        house.drained()
        found = boss.get(f"/calls/{call_id}.json")
        if found.status_code == 200 and found.json()["call"]["outcome"] == "cancelled":
            break
    assert found.json()["call"]["outcome"] == "cancelled"
    assert found.json()["call"]["output_tokens"] < 1000


def test_a_playground_filled_from_a_call(house: House, boss: httpx.Client) -> None:
    call_id = house.call(key="boss", question="fill me in")
    house.drained()
    assert "fill me in</textarea>" in boss.get(f"/playground?from={call_id}").text


def test_a_body_it_refuses_is_on_record(house: House, boss: httpx.Client) -> None:
    token = {"x-csrf-token": csrf(boss.get("/playground"))}
    body = {"model": "parrot", "messages": [{"role": "emperor", "content": "refused by its form"}], "stream": True}
    assert boss.post("/playground/chat", json=body, headers=token).status_code == 400
    house.drained()
    call = boss.get("/calls.json?outcome=refused").json()["calls"][0]
    assert (call["client"], call["status"], call["key_id"]) == ("loopwright console", 400, house.key_id("boss"))
    detail = boss.get(f"/calls/{call['id']}.json").json()
    assert detail["request"]["messages"][0]["content"] == "refused by its form"
