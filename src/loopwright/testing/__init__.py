"""A fault-injecting upstream, for our tests and for yours: OpenAI-compatible; Anthropic, Gemini and Bedrock by path.

    async with FaultyUpstream(faults=["status=429:2@0.1", "between-tokens=0.02"], seed=7) as upstream:
        client = AsyncOpenAI(base_url=upstream.url, api_key="any")

or, from a shell, `python -m loopwright.testing --port 9000 --fault stall@0.5`. A single request chooses its own faults
by its model's name: `fault:stall@0.5`, `fault:latency=0.2,truncate`. As a pytest fixture (with anyio's plug-in):

    @pytest.fixture
    async def upstream() -> AsyncIterator[FaultyUpstream]:
        async with FaultyUpstream() as upstream:
            yield upstream

Every answer holds a digest of its prompt (`answer_to` computes it), so answers that went to the wrong asker show.
"""

from loopwright.testing.answers import answer_to
from loopwright.testing.faults import KINDS, Fault
from loopwright.testing.upstream import FaultyUpstream, Seen

__all__ = ["KINDS", "Fault", "FaultyUpstream", "Seen", "answer_to"]
