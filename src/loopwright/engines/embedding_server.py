"""The child process that hosts one embedding model: `python -m loopwright.engines.embedding_server`."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn

from loopwright.engines.children import ENVIRONMENT
from loopwright.engines.embedding_http import EmbeddingApp
from loopwright.engines.embedding_queue import EmbeddingQueue
from loopwright.engines.encoder import Encoder


async def serve(told: Mapping[str, Any], encoder: Encoder) -> None:
    """Answer until SIGTERM; then let running requests finish within the grace."""
    queue = EmbeddingQueue(encoder.encode)
    app = EmbeddingApp(told["name"], encoder, queue, secret=told["secret"], longest=told["context"])
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=told["port"],
            log_level="warning",
            access_log=False,
            http="httptools",
            lifespan="off",
            server_header=False,
            backlog=1024,
            timeout_graceful_shutdown=int(told["grace"]),
        )
    )
    working = asyncio.create_task(queue.run())
    try:
        await server.serve()
    finally:
        working.cancel()


def main() -> None:
    """Load, serve until told to stop."""
    told = json.loads(os.environ.pop(ENVIRONMENT))
    begun = time.monotonic()
    try:
        encoder = Encoder(Path(told["path"]), threads=told["threads"])
    except (ValueError, KeyError, OSError) as error:
        sys.exit(f"cannot load the embedding model in {told['path']}: {error}")
    gc.collect()
    gc.freeze()
    print(f"{told['name']}: loaded in {time.monotonic() - begun:.1f} s, port {told['port']}", flush=True)  # noqa: T201
    asyncio.run(serve(told, encoder))


if __name__ == "__main__":
    main()
