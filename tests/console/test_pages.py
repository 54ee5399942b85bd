"""The pages as a browser without scripts gets them."""

import html
import json
import re
import time
from datetime import UTC, datetime
from html.parser import HTMLParser

import httpx
import psycopg
import pytest
from psycopg import sql

from tests.console.housing import PAGES, House, csrf


def test_every_answer_carries_the_security_headers(boss: httpx.Client) -> None:
    for path in (*PAGES, "/calls.json", "/sign-in", "/nothing", "/calls?range=5y"):
        headers = boss.get(path, follow_redirects=False).headers
        policy = headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_pages_hold_no_inline_scripts_or_styles_and_nothing_from_elsewhere(house: House, boss: httpx.Client) -> None:
    call_id = house.call(key="boss")
    house.drained()
    for path in (*PAGES, f"/calls/{call_id}"):
        tags = Tags()
        tags.feed(boss.get(path).text)
        for tag, given in tags.seen:
            assert not any(name == "style" or name.startswith("on") for name in given), (tag, given)
            assert tag != "style"
            assert tag != "script" or given["src"]
            for name in ("src", "href", "action"):
                assert not given.get(name) or (given[name] or "").startswith(("/", "#", "?")), (tag, given)


def test_a_call_shows_where_its_bytes_went(house: House, boss: httpx.Client) -> None:
    left = {
        "provider": "frankfurt", "model": "<b>m", "region": "eu", "own": False, "bytes": 1234, "bodies": 1,
        "sha256": "ab" * 32, "answered": True, "redacted": {"email": 2},
    }  # fmt: skip
    ours = {**left, "provider": "llamacpp", "region": None, "own": True, "redacted": {}, "sensitive": "iban"}
    gone, kept, plain = (house.call(key="boss", sent=sent) for sent in ([left, ours], [], None))
    house.drained()
    page = boss.get(f"/calls/{gone}").text
    assert all(word in page for word in ("Where it went", "frankfurt", "1,234", "2 email", "sensitive: iban", "here"))
    assert "<b>m" not in page
    assert boss.get(f"/calls/{gone}.json").json()["sent"] == [left, ours]
    assert "Nothing left for any target" in boss.get(f"/calls/{kept}").text
    assert "Where it went" not in boss.get(f"/calls/{plain}").text


def test_ordinary_keys_see_their_project_only(house: House, clerk: httpx.Client) -> None:
    mine = house.call(key="clerk", session="scope")
    theirs = house.call(key="seeker", session="scope")
    house.drained()
    found = {call["id"] for call in clerk.get("/calls.json", params={"session": "scope"}).json()["calls"]}
    assert mine in found
    assert theirs not in found
    assert clerk.get(f"/calls/{theirs}").status_code == 404
    assert clerk.get(f"/calls/{theirs}.json").status_code == 404
    refused = clerk.get("/keys")
    assert refused.status_code == 403
    assert "administrator" in refused.text
    assert clerk.get("/keys.json").status_code == 403
    assert 'href="/keys"' not in clerk.get("/calls").text


def test_sessions_of_one_name_in_two_projects_are_told_apart(house: House, boss: httpx.Client) -> None:
    house.call(key="clerk", session="same name", question="asked by the clerk")
    house.call(key="clerk", session="same name", question="asked by the clerk again")
    house.call(key="seeker", session="same name", question="asked by the seeker")
    house.drained()
    listed = boss.get("/sessions").text
    addresses = re.findall(r'href="(/sessions/same%20name[^"]*)"', listed)
    assert sorted(address.rpartition("=")[2] for address in addresses) == ["default", "search"]
    said = boss.get("/sessions/same%20name?project=search").text
    assert "asked by the seeker" in said
    assert "asked by the clerk" not in said
    with house.client("seeker") as seeker:
        assert seeker.get("/sessions/same%20name?project=default").status_code == 404
        assert f"{house.url}/otlp<" in seeker.get("/traces").text, "says where spans are sent to"


def test_filters_narrow_the_list(house: House, boss: httpx.Client) -> None:
    wanted = house.call(session="s-1", tags={"env": "prod"}, latency_us=9_000_000, cost_nano=5_000_000, task="triage")
    failed = house.call(
        session="s-1",
        outcome="error",
        status=502,
        error_code="upstream_broke",
        error="it broke",
        ttft_us=None,
        cost_nano=None,
    )
    house.drained()
    for query in (
        "tag=env:prod", "min_latency_ms=8000", "min_cost_usd=0.004", "task=triage", "outcome=ok",
        f"key={house.key_id('clerk')}&outcome=ok", "range=1h&outcome=ok", "model=parrot&outcome=ok",
    ):  # fmt: skip
        page = boss.get(f"/calls?session=s-1&{query}").text
        assert wanted in page
        assert failed not in page
    page = boss.get("/calls?session=s-1&error=upstream_broke").text
    assert failed in page
    assert "unpriced" in page
    assert "No call passes these filters" in boss.get("/calls?session=nobody").text


def test_words_are_searched_in_prompts(house: House, boss: httpx.Client) -> None:
    wanted = house.call(question="where do quokkas sleep")
    house.drained()
    assert [call["id"] for call in boss.get("/calls.json?q=quokkas").json()["calls"]] == [wanted]


@pytest.mark.parametrize(
    ("request_body", "answer"),
    [
        (
            b'{"model": "parrot", "messages": [{"role": "user", "content": "\\ud800 \\u0000 \\u202e"}]}',
            b'{"choices": 7}',
        ),
        (
            b'{"messages": {"role": []}, "tools": "x", "prompt": null}',
            b'{"choices": [null, {"message": 3}, {"delta": {}}]}',
        ),
        (b"not JSON <b>at all</b>", b"\xff\xfe"),
        (b"", b""),
        (b"[1]", b"data: {broken\n\ndata: [DONE]\n\n"),
        (
            b'{"a":' * 500 + b"1" + b"}" * 500,
            b'{"choices": [{"message": {"content": ' + b"[" * 500 + b"]" * 500 + b"}}]}",
        ),
    ],
)
def test_a_call_of_any_shape_has_a_page(house: House, boss: httpx.Client, request_body: bytes, answer: bytes) -> None:
    call_id = house.call(key="boss", request=request_body, answer=answer)
    house.drained()
    for path in (f"/calls/{call_id}", f"/calls/{call_id}.json", f"/playground?from={call_id}"):
        assert boss.get(path).status_code == 200, path


def test_a_huge_call_has_a_page_of_bounded_size(house: House, boss: httpx.Client) -> None:
    messages = [{"role": "user", "content": f"turn {at} " + "x" * 1000} for at in range(2000)]
    body = json.dumps({"model": "parrot", "messages": messages}).encode()
    call_id = house.call(key="boss", request=body)
    house.drained()
    page = boss.get(f"/calls/{call_id}")
    assert len(page.content) < 1_000_000
    assert "1800 earlier turns are not shown" in page.text
    assert "turn 1999" in page.text
    assert len(boss.get(f"/calls/{call_id}.json").json()["request"]["messages"]) == 2000


def test_pages_follow_one_another(house: House, boss: httpx.Client) -> None:
    made = [house.call(session="paged", ago=1000 - at) for at in range(120)]
    house.drained()
    seen: list[str] = []
    address = "/calls?session=paged"
    while True:
        page = boss.get(address).text
        seen += re.findall(r'data-id="([^"]+)"', page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        if older is None:
            break
        address = older[1].replace("&amp;", "&")
    assert seen == made[::-1]


def test_the_tail_shows_what_came_since(house: House, boss: httpx.Client) -> None:
    first = house.call(session="tail", ago=30)
    house.drained()
    second = house.call(session="tail", ago=20)
    house.drained()
    page = boss.get("/calls", params={"session": "tail", "after": first}).text
    assert re.findall(r'data-id="([^"]+)"', page) == [second]


def test_the_tail_shows_long_calls_that_began_before(house: House, boss: httpx.Client) -> None:
    slow = house.call(session="slow tail", ago=300, latency_us=295_000_000)
    quick = house.call(session="slow tail", ago=20)
    house.call(session="slow tail", ago=280, latency_us=1_000_000)
    first = house.call(session="slow tail", ago=10)
    house.drained()
    ended = datetime.now(UTC).isoformat()
    page = boss.get("/calls", params={"session": "slow tail", "after": first, "ended": ended}).text
    assert re.findall(r'data-id="([^"]+)"', page) == [first, quick, slow]
    assert boss.get("/calls", params={"after": first, "ended": "then"}).status_code == 400


@pytest.mark.parametrize(
    ("query", "says"),
    [("range=5y", "5y"), ("tag=novalue", "name:value"), ("since=yesterday", "yesterday"), ("before=1", "call id"), ("outcome=x", "outcome")],
)  # fmt: skip
def test_a_filter_that_cannot_be_used_is_said(boss: httpx.Client, query: str, says: str) -> None:
    answer = boss.get(f"/calls?{query}")
    assert answer.status_code == 400
    assert says in answer.text
    twin = boss.get(f"/calls.json?{query}")
    assert twin.status_code == 400
    assert twin.json()["error"]["code"] == "invalid_request"


def test_the_overview_shows_unpriced_calls_as_such(house: House, boss: httpx.Client) -> None:
    house.call(model="mynah", cost_nano=None, price_source=None)
    house.drained()
    data = boss.get("/overview.json?range=1h&model=mynah").json()
    assert data["summary"]["requests"] == data["summary"]["unpriced"] >= 1
    assert data["summary"]["cost_usd"] is None
    page = boss.get("/overview?range=1h&model=mynah").text
    assert "unpriced" in page
    assert page.count('<svg class="plot"') == 6
    assert page.count("<desc id=") == 6


def test_every_twin_equals_its_page(house: House, boss: httpx.Client) -> None:
    call_id = house.call(key="boss", session="twin", tags={"a": "b"}, question="twins?")
    house.drained()
    detail = boss.get(f"/calls/{call_id}.json").json()
    page = boss.get(f"/calls/{call_id}").text
    assert detail["call"]["id"] == call_id
    assert detail["request"]["messages"][0]["content"] == "twins?"
    for shown in (call_id, "twins?", "Hello there", "a:b", detail["call"]["trace_id"], "loopwright.yaml"):
        assert shown in page
    listed = boss.get("/calls.json?session=twin").json()["calls"]
    assert listed == [detail["call"] | {"scores": []}]
    overview = boss.get("/overview.json?range=1h").json()
    page = html.unescape(boss.get("/overview?range=1h").text)
    for model in overview["models"]:
        assert model["name"] in page
    models = boss.get("/models.json").json()["models"]
    page = boss.get("/models").text
    assert {model["name"] for model in models} >= {"parrot", "mynah"}
    for model in models:
        assert model["name"] in page
    engine = next(model for model in models if model["name"] == "local")["serving"]
    assert engine["healthy"]
    assert engine["fit"] in page
    for key in boss.get("/keys.json").json()["keys"]:
        assert key["prefix"] in boss.get("/keys").text


def test_a_twin_answers_a_key_too(house: House) -> None:
    headers = {"authorization": f"Bearer {house.secrets['clerk']}"}
    assert httpx.get(f"{house.url}/calls.json", headers=headers).status_code == 200
    assert httpx.get(f"{house.url}/calls", headers=headers).status_code == 303


def test_secrets_are_nowhere_but_on_the_page_that_makes_them(house: House, boss: httpx.Client) -> None:
    token = csrf(boss.get("/keys"))
    made = boss.post("/keys", data={"csrf": token, "name": "fresh", "project": "default", "models": "parrot, mynah"})
    assert made.status_code == 201
    found = re.search(r"lw-[\w-]{43}", made.text)
    assert found is not None
    who = house.app.keys.find(found[0])
    assert who is not None
    assert who.models == frozenset({"parrot", "mynah"})
    assert found[0] not in boss.get("/keys").text
    assert found[0] not in boss.get("/keys.json").text
    assert "engine-secret" not in boss.get("/models").text + boss.get("/models.json").text
    again = boss.post("/keys", data={"csrf": token, "name": "fresh", "project": "default"})
    assert again.status_code == 409
    assert "already" in again.text
    wrong = boss.post("/keys", data={"csrf": token, "name": "wrong", "project": "default", "models": "parot"})
    assert wrong.status_code == 400
    assert "parot" in wrong.text


def test_a_key_cannot_revoke_itself(house: House, boss: httpx.Client) -> None:
    answer = boss.post(f"/keys/{house.key_id('boss')}/revoke", data={"csrf": csrf(boss.get("/keys"))})
    assert answer.status_code == 403
    assert house.app.keys.find(house.secrets["boss"]) is not None


def test_a_key_of_a_new_project(house: House, boss: httpx.Client) -> None:
    token = csrf(boss.get("/keys"))
    made = boss.post("/keys", data={"csrf": token, "name": "first", "project": "default", "project_new": "team-b"})
    assert made.status_code == 201
    assert "team-b" in boss.get("/keys.json").json()["projects"]
    bad = boss.post("/keys", data={"csrf": token, "name": "second", "project_new": "Team B"})
    assert bad.status_code == 400
    assert 'value="second"' in bad.text


def test_a_key_is_kept_to_routes_and_a_last_day(house: House, boss: httpx.Client) -> None:
    typed = {
        "csrf": csrf(boss.get("/keys")),
        "name": "short",
        "project": "default",
        "operations": "chat, rerank",
        "tasks": "triage",
    }
    assert boss.post("/keys", data={**typed, "expires": "2199-01-31"}).status_code == 201
    (key,) = [each for each in boss.get("/keys.json").json()["keys"] if each["name"] == "short"]
    assert (key["operations"], key["tasks"], key["state"]) == (["chat", "rerank"], ["triage"], "live")
    assert key["expires_at"].startswith("2199-01-31")
    assert "routes: chat, rerank" in boss.get("/keys").text
    for wrong, says in (({"operations": "chats"}, "moderations, rerank"), ({"expires": "soon"}, "is no date")):
        answer = boss.post("/keys", data={**typed, "name": "none", **wrong})
        assert answer.status_code == 400
        assert says in answer.text
        assert 'value="none"' in answer.text


def test_unknown_addresses_and_calls(boss: httpx.Client) -> None:
    answer = boss.get("/nothing/here")
    assert answer.status_code == 404
    assert "/nothing/here" in answer.text
    assert 'href="/overview"' in answer.text
    missing = boss.get("/calls/01a1fd7c-aaad-726a-9015-6c04a0d660f2")
    assert missing.status_code == 404
    assert boss.get("/nothing", headers={"accept": "application/json"}).json()["error"]["code"] == "not_found"


def test_files_are_kept_by_browsers_and_small(house: House, boss: httpx.Client) -> None:
    page = boss.get("/playground").text
    names = set(re.findall(r'"(/static/[^"]+)"', page))
    assert names
    for name in names:
        answer = boss.get(name)
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-encoding"] == "gzip"
    assert "immutable" not in boss.get("/static/old/console.js").headers["cache-control"]
    assert boss.get("/static/x/..%2Fshell.py").status_code == 404
    assert boss.get("/static/x/secret").status_code == 404


def test_a_database_outage_is_said_and_ends(house: House, boss: httpx.Client, postgres_url: str) -> None:
    name = house.database_url.rsplit("/", 1)[1].split("?")[0]
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        admin.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        try:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            answer = boss.get("/calls")
            assert answer.status_code == 503
            assert "The database does not answer" in answer.text
            assert int(answer.headers["retry-after"]) >= 1
            assert boss.get("/overview.json").status_code == 503
            assert boss.get("/models").status_code == 200
        finally:
            admin.execute(allow.format(sql.Identifier(name), sql.SQL("true")))
    deadline = time.monotonic() + 60
    while boss.get("/calls").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
