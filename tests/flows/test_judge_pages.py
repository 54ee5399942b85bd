"""The pages of judges over a real house: cards of a scripted judge, trusted, stale, hostile, and none at all."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.flows.house import House
from tests.flows.test_judges import CONFIG, answers, as_json, pairs, run

__all__ = ["answers", "pairs"]
ATTACK = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("judge-pages"), config=CONFIG).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


@pytest.fixture(scope="module")
def browser(house: House) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=house.url, follow_redirects=True, timeout=60) as client:
        csrf = re.search(r'name="csrf" value="([^"]+)"', client.get("/sign-in").text)
        assert csrf is not None
        page = client.post("/sign-in", data={"csrf": csrf[1], "key": house.key}, headers={"origin": house.url})
        assert page.status_code == 200, page.text
        yield client


def put(house: House, name: str, **definition: Any) -> None:
    told = {"form": "rubric", "question": "Is it good?", "labels": {"yes": 1, "no": 0}, "least": 1, **definition}
    answer = house.api("PUT", f"/api/judges/{quote(name, safe='')}", json={"definition": told})
    assert answer.status_code == 200, answer.text


def card(house: House, name: str, observations: list[dict[str, Any]], model: str = "oracle") -> dict[str, Any]:
    address = f"/api/judges/{quote(name, safe='')}"
    sha = house.api("GET", address, params={"model": model}).json()["sha"]
    body = {"model": model, "sha": sha, "observations": observations}
    answer = house.api("POST", f"{address}/cards", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.fixture(scope="module")
def polite(house: House, answers: Path) -> dict[str, Any]:
    """Asked for real, of a scripted model: it agrees with people on all they settled."""
    put(house, "polite", model="oracle")
    made: dict[str, Any] = as_json(run(house, "calibrate", "polite", "--labels", str(answers), "--json"))
    return made


def test_both_pages_tell_the_card_that_was_made(house: House, browser: httpx.Client, polite: dict[str, Any]) -> None:
    page = browser.get("/judges")
    assert page.status_code == 200
    assert 'href="/judges/polite"' in page.text
    assert "trusted</span>" in page.text
    assert 'class="interval"' in page.text
    assert 'aria-current="page"' in page.text
    twin = browser.get("/judges.json").json()
    judges = {each["name"]: each for each in twin["judges"]}
    assert {"factuality", "faithful", "polite"} <= judges.keys()
    assert judges["faithful"]["cards"] == []
    [told] = judges["polite"]["cards"]
    assert (told["id"], told["card"], told["trusted"]) == (polite["id"], polite["card"], True)
    one = browser.get("/judges/polite")
    assert one.status_code == 200
    for said in (
        "Cohen&#39;s kappa", "Krippendorff&#39;s alpha", "sensitivity", "specificity", "says the same again",
        "drawn to length", "drawn to its own model", "not measured: only of two answers one stands first",
        "Constant judge", "speaks for it", "loopwright judges calibrate --labels labels.jsonl polite",
    ):  # fmt: skip
        assert said in one.text, said
    twin = browser.get("/judges/polite.json").json()
    assert [each["id"] for each in twin["cards"]] == twin["speaking"] == [polite["id"]]
    assert twin["judge"]["sha"] == polite["sha"]
    as_a_program = httpx.get(f"{house.url}/judges.json", headers={"authorization": f"Bearer {house.key}"})
    assert as_a_program.status_code == 200


def test_a_pairwise_judge_that_always_says_a(house: House, browser: httpx.Client, pairs: Path) -> None:
    as_json(run(house, "pairs", str(pairs), "-m", "place", "-n", "12", "--json"))
    page = browser.get("/judges/factuality")
    assert "order decides" in page.text
    assert "+50.0%" in page.text
    assert "not trusted</span>" in page.text
    assert "Only 12 labelled verdicts, at least 50 are needed" in page.text
    assert "calibrate --labels labels.jsonl --model MODEL factuality" in page.text


def test_a_card_goes_stale_and_comes_back(house: House, browser: httpx.Client) -> None:
    rows = [{"id": f"{n}", "human": ["yes" if n % 2 else "no"], "verdict": "yes" if n % 2 else "no"} for n in range(70)]
    put(house, "moody")
    made = card(house, "moody", rows)

    def standing() -> tuple[int, bool, bool]:
        [judge] = [each for each in browser.get("/judges.json").json()["judges"] if each["name"] == "moody"]
        [told] = judge["cards"]
        return told["id"], told["stale"] is not None, told["trusted"]

    assert standing() == (made["id"], False, True)
    put(house, "moody", question="Is it really good?")
    assert standing() == (made["id"], True, False)
    page = browser.get("/judges/moody").text
    assert "stale</span>" in page
    assert "The card is stale: the prompt or the parameters of the judge have changed" in page
    newer = card(house, "moody", rows)
    put(house, "moody")
    # The words of the older card are asked again: it is the one that says something of the judge.
    assert standing() == (made["id"], False, True)
    twin = browser.get("/judges/moody.json").json()
    assert [each["id"] for each in twin["cards"]] == [newer["id"], made["id"]]
    assert twin["speaking"] == [made["id"]]
    assert [each["id"] for each in browser.get(f"/judges/moody.json?before={newer['id']}").json()["cards"]] == [
        made["id"]
    ]


def test_a_bar_of_ones_own(browser: httpx.Client, polite: dict[str, Any]) -> None:
    assert polite["card"]["figures"]["kappa"]["low"] == 1
    twin = browser.get("/judges/polite.json", params={"bar": "-1"}).json()
    assert (twin["bar"], twin["cards"][0]["bar"]) == (-1, -1)
    assert "bar=0.9" in browser.get("/judges", params={"bar": "0.9"}).text
    for odd in ("high", "nan", "inf", "1.01", "-2", "\x00", "9" * 400):
        assert browser.get("/judges", params={"bar": odd}).status_code == 400
    for odd in ("-1", "x", "9" * 30, "\x00"):
        assert browser.get("/judges/polite", params={"before": odd}).status_code == 400


def test_what_others_wrote_is_text(house: House, browser: httpx.Client) -> None:
    name, label = '<b onclick="x">\'&"?#', "<i>yes</i>"
    put(
        house, name, question=ATTACK, labels={label: 1, "no": 0}, meanings={label: ATTACK},
        parameters={ATTACK: ATTACK, "nested": {"<u>": [ATTACK]}}, model="<svg>",
    )  # fmt: skip
    rows = [
        {"id": f"{n}", "human": [label if n % 3 else "no"], "verdict": None if n % 5 == 0 else label, "missing": ATTACK,
         "model": ATTACK, "authors": [ATTACK], "lengths": [n]}
        for n in range(30)
    ]  # fmt: skip
    card(house, name, rows, model="<svg>")
    [address] = set(re.findall(r'href="(/judges/%3C[^"#]*)', browser.get("/judges").text))
    for path in ("/judges", address):
        page = browser.get(path)
        assert page.status_code == 200
        main = page.text[page.text.index("<main") :]
        for raw in ("<script", "<img", "<b on", "<i>", "<u>", "onerror=window.hacked=1>"):
            assert raw not in main, raw
        assert "&lt;script&gt;" in main
        assert "script-src 'self'" in page.headers["content-security-policy"]
    assert browser.get(f"{address}.json").json()["judge"]["name"] == name


def test_a_stranger_sees_nothing_of_it(house: House, browser: httpx.Client, polite: dict[str, Any]) -> None:
    house.api("POST", "/api/projects", json={"name": "strangers"})
    key = house.api("POST", "/api/keys", json={"name": "stranger", "project": "strangers"}).json()["secret"]
    headers = {"authorization": f"Bearer {key}"}
    seen = httpx.get(f"{house.url}/judges.json", headers=headers).json()
    assert (seen["project"], [each for each in seen["judges"] if each["cards"]]) == ("strangers", [])
    assert httpx.get(f"{house.url}/judges/polite.json", headers=headers).status_code == 404
    mine = httpx.get(f"{house.url}/judges.json", params={"project": "default"}, headers=headers)
    assert mine.status_code == 404
    theirs = browser.get("/judges", params={"project": "strangers"})
    assert "project strangers" in theirs.text
    assert 'href="/judges/faithful?project=strangers"' in theirs.text
    assert browser.get("/judges/polite", params={"project": "strangers"}).status_code == 404
    assert browser.get("/judges/plite").status_code == 404
    assert "did you mean" in browser.get("/judges/plite").text
    assert browser.get("/judges/%00").status_code == 404
    assert httpx.get(f"{house.url}/judges").status_code == 303


def test_a_judge_named_like_a_file_has_a_page(house: House, browser: httpx.Client) -> None:
    put(house, "polite.json", model="oracle")
    html = {"accept": "text/html,*/*"}
    page = browser.get("/judges/polite.json", headers=html)
    assert page.headers["content-type"].startswith("text/html")
    assert "polite.json" in page.text
    assert browser.get("/judges/polite.json.json").json()["judge"]["name"] == "polite.json"
    put(house, "strict", model="oracle")
    for accept in (html, {"accept": "application/json"}):
        assert browser.get("/judges/strict.json", headers=accept).json()["judge"]["name"] == "strict"
