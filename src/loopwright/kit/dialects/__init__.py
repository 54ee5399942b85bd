"""Other dialects than OpenAI's chat, as pure translators: a body in to the canonical one, an answer out of chunks.

The canonical body is OpenAI's. What other dialects can say and OpenAI's cannot stands in members that upstreams speaking
OpenAI's dialect do not know (`FOREIGN` in `foreign.py`), so that a provider of another dialect gets it unharmed.
"""
