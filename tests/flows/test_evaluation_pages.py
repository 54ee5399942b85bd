"""The pages of evaluations over a real house: figures, examples in every order, two compared, cancelled, forgotten."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.flows.house import House
from tests.flows.test_evaluations import create, ended, house

__all__ = ["house"]


@pytest.fixture(scope="module")
def browser(house: House) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=house.url, follow_redirects=True, timeout=60) as client:
        csrf = re.search(r'name="csrf" value="([^"]+)"', client.get("/sign-in").text)
        assert csrf is not None
        page = client.post("/sign-in", data={"csrf": csrf[1], "key": house.key}, headers={"origin": house.url})
        assert page.status_code == 200, page.text
        yield client


@pytest.fixture(scope="module")
def two(house: House) -> tuple[str, str]:
    first = create(
        house,
        targets=["task/echo@better", "task/echo@plain"],
        baseline="task/echo@plain",
        evaluators=["exact_match", "chrf"],
        gate={"bars": {"exact_match": 0.5}},
    )
    second = create(house, targets=["task/echo@plain"])
    for each in (first, second):
        assert ended(house, each["id"])["status"] == "completed"
    return first["id"], second["id"]


def test_the_list_names_them(browser: httpx.Client, two: tuple[str, str]) -> None:
    page = browser.get("/evaluations")
    assert page.status_code == 200
    assert all(f"/evaluations/{each}" in page.text for each in two)
    twin = browser.get("/evaluations.json", params={"status": "completed", "dataset": "echo"}).json()
    assert {each["id"] for each in twin["evaluations"]} >= set(two)
    assert browser.get("/evaluations", params={"status": "odd"}).status_code == 400
    assert "No evaluations like this" in browser.get("/evaluations", params={"dataset": "nowhere"}).text


@pytest.mark.parametrize("sort", ["position", "regression", "disagreement", "worst", "missing"])
def test_examples_come_in_every_order(browser: httpx.Client, two: tuple[str, str], sort: str) -> None:
    page = browser.get(f"/evaluations/{two[0]}", params={"sort": sort, "evaluator": "exact_match"})
    assert page.status_code == 200
    assert "Against the baseline" in page.text
    assert "against cost an answer" in page.text
    twin = browser.get(f"/evaluations/{two[0]}.json", params={"sort": sort}).json()
    assert len(twin["results"]) == 20
    assert twin["next"] == 20
    if sort == "disagreement":
        scores = [each["scores"]["exact_match"]["value"] for each in twin["results"][0]["answers"]]
        assert sorted(scores) == [0.0, 1.0]


def test_a_slice_and_further_pages(browser: httpx.Client, two: tuple[str, str]) -> None:
    twin = browser.get(f"/evaluations/{two[0]}.json", params={"slice": "ending:3", "sort": "position"}).json()
    assert [each["example_id"] for each in twin["results"]] == [f"q{n}" for n in range(3, 60, 10)]
    later = browser.get(f"/evaluations/{two[0]}.json", params={"offset": "40", "sort": "position"}).json()
    assert [each["example_id"] for each in later["results"]] == [f"q{n}" for n in range(40, 60)]
    assert later["next"] is None
    for odd in ({"offset": "-1"}, {"slice": "ending"}, {"sort": "odd"}, {"evaluator": "odd"}, {"target": "odd"}):
        assert browser.get(f"/evaluations/{two[0]}", params=odd).status_code == 400


def test_without_a_baseline_there_is_no_regression(browser: httpx.Client, two: tuple[str, str]) -> None:
    assert browser.get(f"/evaluations/{two[1]}", params={"sort": "regression"}).status_code == 400
    assert "regressions first" not in browser.get(f"/evaluations/{two[1]}").text


def test_two_are_compared_down_to_the_example(browser: httpx.Client, two: tuple[str, str]) -> None:
    page = browser.get("/evaluations/compare", params={"a": two[1], "b": two[0]})
    assert page.status_code == 200
    assert "say 7" in page.text
    assert "no idea" in page.text
    twin = browser.get("/evaluations/compare.json", params={"a": two[1], "b": two[0]}).json()
    assert {each["example_id"]: (each["expected"], each["a"], each["b"]) for each in twin["examples"]}["q7"] == (
        "say 7", "no idea", "say 7",
    )  # fmt: skip
    assert browser.get("/evaluations/compare", params={"a": two[1]}).status_code == 400
    assert browser.get("/evaluations/compare", params={"a": two[1], "b": "eval_gone"}).status_code == 404


def test_it_is_forgotten_from_its_page(house: House, browser: httpx.Client) -> None:
    made = create(house, targets=["task/echo@plain"], limit=3)
    ended(house, made["id"])
    address = f"/evaluations/{made['id']}"
    token = re.search(r'name="csrf" value="([^"]+)"', browser.get(address).text)
    assert token is not None
    refused = browser.post(f"{address}/delete", data={"csrf": "odd"}, headers={"origin": house.url})
    assert refused.status_code == 403
    gone = browser.post(f"{address}/delete", data={"csrf": token[1]}, headers={"origin": house.url})
    assert gone.status_code == 200
    assert browser.get(address).status_code == 404
    assert "evaluation.delete" in house.api("GET", "/api/audit").text
