"""`python -m loopwright.testing`: the fault-injecting upstream as a program."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress

from loopwright.core.errors import SettingsError
from loopwright.testing.faults import KINDS
from loopwright.testing.upstream import FaultyUpstream


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    kinds = "\n".join(f"  {kind:<17} {meaning}" for kind, meaning in KINDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m loopwright.testing",
        description="An OpenAI-compatible server that fails on demand.",
        epilog=f"A fault is kind[=value[:retry_after]][@chance]; a request chooses its own by the model's name,"
        f" fault:KIND,…\n\n{kinds}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one (it is printed)")
    parser.add_argument("--fault", action="append", default=[], metavar="FAULT", help="strikes every request by chance")
    parser.add_argument("--sequence", action="append", default=[], metavar="FAULTS", help="the next request; or `ok`")
    parser.add_argument("--model", action="append", default=[], metavar="NAME", help="listed by /models")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


async def _serve(chosen: argparse.Namespace) -> None:
    upstream = FaultyUpstream(
        faults=chosen.fault,
        sequence=chosen.sequence,
        seed=chosen.seed,
        models=chosen.model or ("faulty-1",),
        host=chosen.host,
        port=chosen.port,
    )
    async with upstream:
        sys.stdout.write(f"{upstream.url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted. Returns 2 for a wrong fault."""
    chosen = _arguments(arguments)
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(_serve(chosen))
    except SettingsError as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
