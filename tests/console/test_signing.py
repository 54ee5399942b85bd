"""Who gets in, and what a form must carry."""

import httpx
import pytest

from tests.console.housing import PAGES, House, csrf


def test_nothing_is_shown_without_a_session(house: House) -> None:
    with house.client() as nobody:
        for path in (*PAGES, "/calls/x"):
            answer = nobody.get(path, follow_redirects=False)
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/sign-in?next=%2F")
            twin = nobody.get(f"{path}.json")
            assert twin.status_code == 401
            assert twin.json()["error"]["code"] == "invalid_api_key"


def test_sign_in_leads_on_to_the_page_that_was_asked_for(house: House) -> None:
    with house.client() as client:
        form = client.get("/calls?model=parrot")
        assert form.url.path == "/sign-in"
        fields = {"csrf": csrf(form), "key": house.secrets["clerk"], "next": "/calls?model=parrot"}
        arrived = client.post("/sign-in", data=fields)
        assert str(arrived.url).endswith("/calls?model=parrot")


def test_the_session_cookie_is_closed_to_scripts_and_other_sites(house: House) -> None:
    with house.client() as client:
        fields = {"csrf": csrf(client.get("/sign-in")), "key": house.secrets["clerk"]}
        answer = client.post("/sign-in", data=fields, follow_redirects=False)
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie


def test_a_wrong_key_is_refused_and_many_of_them_limited(
    database: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = House(home=tmp_path_factory.mktemp("door"), database_url=database)
    other.start(keys=False)
    try:
        with other.client() as client:
            token = csrf(client.get("/sign-in"))
            for _ in range(10):
                answer = client.post("/sign-in", data={"csrf": token, "key": "lw-wrong"})
                assert answer.status_code == 401
                assert "No live key" in answer.text
            answer = client.post("/sign-in", data={"csrf": token, "key": "lw-wrong"})
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) > 0
            assert "try again in" in answer.text
    finally:
        other.stop()


def test_a_revoked_key_ends_its_session_at_once(house: House, boss: httpx.Client) -> None:
    key, house.secrets["brief"] = house.do(house.app.keys.create("default", "brief"))
    with house.client("brief") as client:
        assert client.get("/calls").url.path == "/calls"
        token = csrf(boss.get("/keys"))
        assert boss.post(f"/keys/{key.id}/revoke", data={"csrf": token}).status_code == 200
        assert client.get("/calls").url.path == "/sign-in"
        assert client.get("/calls.json").status_code == 401


def test_signing_out_ends_it(house: House) -> None:
    with house.client("clerk") as client:
        token = csrf(client.get("/calls"))
        assert client.post("/sign-out", data={"csrf": token}).url.path == "/sign-in"
        assert client.get("/calls").url.path == "/sign-in"


@pytest.mark.parametrize("path", ["/keys", "/keys/1/revoke", "/theme", "/sign-out", "/playground"])
def test_a_change_without_the_sessions_token_is_refused(boss: httpx.Client, path: str) -> None:
    for fields in ({}, {"csrf": "x" * 43}):
        answer = boss.post(path, data={**fields, "name": "forged", "prompt": "hi", "model": "parrot"})
        assert answer.status_code in {400, 403}
    names = [key["name"] for key in boss.get("/keys.json").json()["keys"]]
    assert "forged" not in names


def test_a_change_from_another_site_is_refused(boss: httpx.Client) -> None:
    token = csrf(boss.get("/keys"))
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
        answer = boss.post("/keys", data={"csrf": token, "name": "forged", "project": "default"}, headers=headers)
        assert answer.status_code == 403
        assert "another site" in answer.text


def test_sign_in_itself_cannot_be_forged(house: House) -> None:
    with house.client() as client:
        answer = client.post("/sign-in", data={"key": house.secrets["clerk"], "csrf": "x"})
        assert answer.status_code == 403
        assert client.get("/calls").url.path == "/sign-in"


def test_a_link_from_elsewhere_finds_the_strict_cookie_on_a_second_step(house: House) -> None:
    with house.client() as client:
        first = client.get("/calls", headers={"sec-fetch-site": "cross-site"}, follow_redirects=False)
        assert first.status_code == 200
        assert 'http-equiv="refresh"' in first.text


def test_themes_without_scripts(boss: httpx.Client) -> None:
    page = boss.get("/models")
    answer = boss.post("/theme", data={"csrf": csrf(page), "theme": "dark", "back": "/models"})
    assert answer.url.path == "/models"
    assert 'data-theme="dark"' in answer.text
    sent = boss.post("/theme", data={"csrf": csrf(page), "theme": "neon", "back": "//evil.example"})
    assert sent.url.path == "/overview"
    assert "data-theme=" not in sent.text


def test_too_large_and_odd_forms(boss: httpx.Client) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert boss.post("/keys", content=b"a=" + b"x" * 1_100_000, headers=form).status_code == 413
    assert boss.post("/keys", content=b"\xff", headers=form).status_code == 400
    assert boss.post("/keys", json={"name": "x"}).status_code == 400
