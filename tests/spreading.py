"""How the files of tests are spread over processes: each as a whole, and together those that share a house."""

from pathlib import PurePath
from typing import Final

from xdist.scheduler import LoadFileScheduling

SHARING: Final = (
    "test_batches_engine.py",
    "test_clients_frameworks.py",
    "test_clients_sdks.py",
    "test_dashboards.py",
    "test_endurance.py",
    "test_judges_engine.py",
    "test_main_job.py",
    "test_management.py",
    "test_rerank.py",
)
"""The flows through the house of tests/flows/conftest.py, which stands only while they run."""


def sharing(path: PurePath) -> bool:
    """Whether the file is one of those."""
    return path.parent.name == "flows" and path.name in SHARING


class Spreading(LoadFileScheduling):  # type: ignore[misc] # xdist has no types
    """One process starts that house, and not each."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "flows of one house" if sharing(PurePath(file)) else file
