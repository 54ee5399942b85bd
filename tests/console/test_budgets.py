"""The pages of budgets: what is spent, where it leads, and limits set, changed and lifted."""

import html
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from loopwright.core.money import NANO
from tests.console.housing import ATTACK, House, csrf


@pytest.fixture(autouse=True)
def no_limits_left(house: House) -> Iterator[None]:
    yield
    house.do(house.app.db.run("delete from limits"))


def put(house: House, kind: str, amount: int, **scope: Any) -> int:
    limit = house.do(house.app.limits.put(kind, amount, **scope))  # type: ignore[arg-type]  # any text is tried
    return limit.id


def row_of(client: httpx.Client, limit_id: int) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/budgets/{limit_id}.json").json()["limit"]
    return found


def test_without_limits_the_page_says_so(boss: httpx.Client, clerk: httpx.Client) -> None:
    assert "Every key may use as much as it wants: set a limit below" in boss.get("/budgets").text
    page = clerk.get("/budgets").text
    assert "Every key may use as much as it wants." in page
    assert 'action="/budgets' not in page


def test_a_budget_shows_what_is_spent_against_it(house: House, boss: httpx.Client) -> None:
    _, house.secrets["spender"] = house.do(house.app.keys.create("search", "spender"))
    key = house.key_id("spender")
    budget = put(house, "usd_per_day", 10 * NANO, key_id=key, alert_at=50)
    house.call(key="spender", ago=0, cost_nano=6 * NANO)
    house.drained()
    row = row_of(boss, budget)
    assert (row["used"], row["amount"], row["share"], row["state"]) == ("6", "10", 0.6, "alert")
    data = boss.get(f"/budgets/{budget}.json").json()
    assert data["windows"][-1]["cost_usd"] == "6"
    assert len(data["windows"]) == 31
    assert [step["cost_usd"] for step in data["within"] if step["cost_usd"] not in ("0", None)] == ["6"]
    page = boss.get(f"/budgets/{budget}").text
    assert page.count('<svg class="plot"') == 2
    assert page.count('class="rule hard"') == 4
    assert page.count('class="rule soft"') == 4
    assert "alert at 50%" in page
    assert "budget at $10.00" in page
    assert "$6.00" in boss.get("/budgets").text


def test_a_budget_that_is_used_up_is_said(house: House, boss: httpx.Client) -> None:
    _, house.secrets["wastrel"] = house.do(house.app.keys.create("search", "wastrel"))
    budget = put(house, "usd_per_month", NANO, key_id=house.key_id("wastrel"))
    house.call(key="wastrel", ago=0, cost_nano=2 * NANO)
    house.drained()
    row = row_of(boss, budget)
    assert (row["state"], row["share"], row["runs_out"]) == ("used up", 2.0, None)
    assert "used up" in boss.get("/budgets").text


def test_every_kind_and_scope_has_a_page(house: House, boss: httpx.Client) -> None:
    tag = ("team", "red")
    made = [
        put(house, kind, 1000, **scope)
        for kind in ("requests_per_minute", "tokens_per_minute", "concurrent_requests", "usd_per_day", "usd_per_month")
        for scope in ({"project": "search"}, {"project": "search", "tag": tag}, {"key_id": house.key_id("clerk")})
    ]
    page = boss.get("/budgets").text
    for limit_id in made:
        assert f'href="/budgets/{limit_id}"' in page
        assert boss.get(f"/budgets/{limit_id}").status_code == 200
        assert row_of(boss, limit_id)["amount"] in {"1000", "0.000001"}
    assert "team:red" in page
    assert boss.get("/budgets?project=search").text.count('class="go"') == 10
    assert boss.get(f"/budgets?key={house.key_id('clerk')}").text.count('class="go"') == 5


def test_in_flight_is_what_requests_at_once_use(house: House, boss: httpx.Client) -> None:
    limit_id = put(house, "concurrent_requests", 10, project="search")
    lease = """insert into leases (limit_id, starts, holder, base, spent, reserved, ceiling, expires_at, told_at)
               values (%s, 0, gen_random_uuid(), 0, 0, 3, 6, now() + interval '1 minute', now())"""
    house.do(house.app.db.run(lease, (limit_id,)))
    row = row_of(boss, limit_id)
    assert (row["used"], row["held"], row["share"]) == ("3", "6", 0.3)


def test_limits_are_set_changed_and_lifted_and_that_is_audited(house: House, boss: httpx.Client) -> None:
    fields = {"csrf": csrf(boss.get("/budgets")), "whose": "project:search", "kind": "usd_per_month", "amount": "12.5"}
    made = boss.post("/budgets", data={**fields, "alert_at": "80"})
    limit_id = int(re.search(r"/budgets/(\d+)$", str(made.url))[1])  # type: ignore[index]  # the test fails then
    assert row_of(boss, limit_id)["amount"] == "12.5"
    boss.post("/budgets", data={**fields, "amount": "20"})
    assert (row_of(boss, limit_id)["amount"], row_of(boss, limit_id)["alert_at"]) == ("20", None)
    tagged = boss.post("/budgets", data={**fields, "tag": "team:blue", "kind": "requests_per_minute", "amount": "7"})
    assert "team:blue" in tagged.text
    assert boss.post(f"/budgets/{limit_id}/remove", data={"csrf": fields["csrf"]}).status_code == 200
    assert boss.get(f"/budgets/{limit_id}").status_code == 404
    acts = house.do(house.app.audit.page(subject=f"limit {limit_id}"))
    assert [(act.act, act.who) for act in acts] == [
        ("limit.remove", "boss"), ("limit.put", "boss"), ("limit.put", "boss"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"amount": "lots"}, "is not a number"), ({"amount": "-1"}, "is not a number"), ({"amount": "NaN"}, "is not a number"),
        ({"kind": "usd_per_eon"}, "choose what to limit"), ({"kind": "requests_per_minute", "amount": "1.5"}, "whole numbers"),
        ({"whose": "project:nowhere"}, "no project"), ({"whose": "key:999999"}, "no live key"), ({"whose": "key:x"}, "whole number"),
        ({"whose": ""}, "no project"), ({"tag": "novalue"}, "name:value"), ({"alert_at": "300"}, "0 to 100"),
        ({"amount": "0.00000000001"}, "nine decimals"), ({"amount": ATTACK}, "is not a number"),
    ],
)  # fmt: skip
def test_a_limit_that_cannot_be_is_said_beside_what_was_typed(
    boss: httpx.Client, changes: dict[str, str], says: str
) -> None:
    fields = {"whose": "project:search", "kind": "usd_per_day", "amount": "5", "csrf": csrf(boss.get("/budgets"))}
    answer = boss.post("/budgets", data={**fields, **changes})
    assert answer.status_code in (400, 404)
    assert says in html.unescape(answer.text)
    assert (
        f'value="{html.escape(changes.get("amount", "5")).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")}"'
        in answer.text
    )


def test_ordinary_keys_see_their_projects_limits_and_change_none(house: House, clerk: httpx.Client) -> None:
    mine = put(house, "usd_per_day", NANO, project="default")
    theirs = put(house, "usd_per_day", NANO, project="search")
    found = clerk.get("/budgets.json").json()["limits"]
    assert [row["id"] for row in found] == [mine]
    assert clerk.get(f"/budgets/{mine}").status_code == 200
    assert clerk.get(f"/budgets/{theirs}").status_code == 404
    assert clerk.get(f"/budgets/{theirs}.json").status_code == 404
    token = csrf(clerk.get("/budgets"))
    fields = {"csrf": token, "whose": "project:default", "kind": "usd_per_day", "amount": "1"}
    assert clerk.post("/budgets", data=fields).status_code == 403
    assert clerk.post(f"/budgets/{mine}/remove", data={"csrf": token}).status_code == 403


def test_a_change_needs_the_sessions_token(house: House, boss: httpx.Client) -> None:
    limit_id = put(house, "usd_per_day", NANO, project="search")
    fields = {"whose": "project:search", "kind": "usd_per_day", "amount": "5"}
    assert boss.post("/budgets", data=fields).status_code == 403
    assert boss.post(f"/budgets/{limit_id}/remove", data={"csrf": "x"}).status_code == 403
    assert row_of(boss, limit_id)["amount"] == "1"


def test_many_limits_make_a_page_of_bounded_size(house: House, boss: httpx.Client) -> None:
    many = """insert into limits (project_id, tag_name, tag_value, kind, amount)
              select id, 'n', g::text, 'usd_per_day', 1000000000 from projects, generate_series(1, 600) g where name = 'search'"""
    house.do(house.app.db.run(many))
    page = boss.get("/budgets").text
    assert page.count('class="go"') == 200
    assert "400 more with less use" in page
    assert len(page) < 500_000


def test_a_key_is_rotated_and_the_old_secret_opens_for_a_while(house: House, boss: httpx.Client) -> None:
    key, old = house.do(house.app.keys.create("default", "turning"))
    token = csrf(boss.get("/keys"))
    answer = boss.post(f"/keys/{key.id}/rotate", data={"csrf": token, "overlap": "3600"})
    fresh = re.findall(r"lw-[\w-]{43}", answer.text)[0]
    assert fresh != old
    assert house.app.keys.find(fresh) == house.app.keys.find(fresh)
    assert house.app.keys.find(old) is not None
    assert "The old one opens until" in answer.text
    row = next(row for row in boss.get("/keys.json").json()["keys"] if row["id"] == key.id)
    assert row["overlaps_until"] is not None
    boss.post(f"/keys/{key.id}/rotate", data={"csrf": token, "overlap": "0"})
    assert house.app.keys.find(fresh) is None
    assert house.app.keys.find(old) is None
    assert boss.post(f"/keys/{key.id}/rotate", data={"csrf": token, "overlap": "x"}).status_code == 400
    assert boss.post("/keys/999999/rotate", data={"csrf": token}).status_code == 404
    house.do(house.app.keys.revoke(key.id))
