"""Nothing that the document of our HTTP API allows or forbids makes the house fail."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.house import House
from tests.flows.outside import SCRIPT, ran

EXAMPLES = 3


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house of its own, for what is asked deletes keys and sets limits."""
    config = f"providers:{SCRIPT}models:\n  script: {{provider: script, operations: [chat, completion, embeddings]}}\n"
    house = House(tmp_path_factory.mktemp("fuzzed"), config=config).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


def test_no_question_makes_the_house_fail(fuzzed: House, tmp_path: Path) -> None:
    found = ran("fuzz_of_schemathesis.py", fuzzed, tmp_path, str(EXAMPLES))
    assert found["wrong"] == []
    paths = fuzzed.api("GET", "/api/openapi.json").json()["paths"]
    operations = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert {label.rpartition(" ")[0] for label in found["met"]} >= operations
    assert sum(1 for label in found["met"] if label.endswith((" 200", " 201"))) > 12
