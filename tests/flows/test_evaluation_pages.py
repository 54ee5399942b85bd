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


def begin(house: House, browser: httpx.Client, **form: str) -> httpx.Response:
    token = re.search(r'name="csrf" value="([^"]+)"', browser.get("/evaluations").text)
    assert token is not None
    told = {"csrf": token[1], "target1": "task/echo@plain", "dataset": "echo", **form}
    return browser.post("/evaluations", data=told, headers={"origin": house.url})


def test_it_is_begun_from_a_form(house: House, browser: httpx.Client) -> None:
    form = browser.get("/evaluations").text
    assert all(each in form for each in ("task/echo@better", 'value="echo"', "exact_match"))
    page = begin(
        house,
        browser,
        target1="task/echo@better",
        target2="old=bad",
        template="{{ question }}",
        baseline="2",
        dataset="echo@1",
        evaluators="exact_match\nlength:least=1,unit=words",
        limit="20",
        budget="0.5",
        name="from the form",
    )
    assert page.status_code == 200
    name = page.url.path.removeprefix("/evaluations/")
    assert name.startswith("eval_"), page.text
    found = ended(house, name)
    assert (found["status"], found["done"], found["baseline"]) == ("completed", 20, "old")
    assert (found["name"], found["evaluators"]) == ("from the form", ["exact_match", "length"])
    assert found["spec"]["budget_nano"] == 500_000_000
    assert "evaluation.create" in house.api("GET", "/api/audit").text


def test_a_plan_is_shown_before_anything_is_asked(house: House, browser: httpx.Client) -> None:
    before = house.api("GET", "/api/evaluations").json()["evaluations"]
    page = begin(house, browser, target2="task/echo@better", baseline="1", act="plan")
    assert page.status_code == 200
    assert "60 examples, 120 questions" in page.text
    assert "true difference" in page.text
    assert house.api("GET", "/api/evaluations").json()["evaluations"] == before


@pytest.mark.parametrize(
    ("field", "form", "said"),
    [
        ("target1", {"target1": "task/ecko@plain"}, "echo"),
        ("target2", {"target2": "nobody"}, "there is no model"),
        ("dataset", {"dataset": "echos"}, "there is no dataset"),
        ("dataset", {"dataset": "echo@9"}, "echo"),
        ("evaluators", {"evaluators": "exact_match\nexact_mash"}, "exact_match"),
        ("evaluators", {"evaluators": "regex:pattern=(a"}, "pattern"),
        ("split", {"split": "odd"}, "split"),
        ("limit", {"limit": "none"}, "whole number"),
        ("budget", {"budget": "-1"}, "US dollars"),
        ("baseline", {"baseline": "2"}, "target"),
        ("template", {"target1": "bad", "template": "{{ question", "evaluators": "exact_match"}, "line 1"),
    ],
    ids=["task", "model", "dataset", "version", "kind", "argument", "split", "limit", "budget", "baseline", "template"],
)
def test_what_is_wrong_stands_beside_its_field(
    house: House, browser: httpx.Client, field: str, form: dict[str, str], said: str
) -> None:
    page = begin(house, browser, **form)
    assert page.status_code in {400, 404}
    beside = re.search(rf'id="n-{field}-wrong">([^<]*)<', page.text)
    assert beside is not None, page.text
    assert said in beside[1]
    assert page.text.count('aria-invalid="true"') == 1
    for typed in form.values():
        assert typed.partition("\n")[0] in page.text.replace("&#34;", '"')


def test_the_form_is_of_this_site_and_session(house: House, browser: httpx.Client) -> None:
    assert begin(house, browser, csrf="odd").status_code == 403
    elsewhere = browser.post("/evaluations", data={"csrf": "odd"}, headers={"origin": "https://evil.example"})
    assert elsewhere.status_code == 403
