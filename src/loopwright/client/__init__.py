"""A thin, synchronous client of the management API. Stands on the standard library alone, so importing it is quick.

Model calls need no client of ours: point the `openai` SDK at `<url>/v1` with the same key.
"""

from loopwright.client.client import Client

__all__ = ["Client"]
