"""What the tests of this room share."""

import asyncio

import pytest
import uvloop

from tests.kit.raw_http import Run, bounded


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine to its end on either event loop, within half a minute."""
    runner = asyncio.run if request.param == "asyncio" else uvloop.run
    return lambda main: runner(bounded(main))
