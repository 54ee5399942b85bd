"""The child process that hosts one GGUF model: `python -m loopwright.engines.llamacpp_server`, told by its environment.

llama.cpp's own HTTP server answers; this program sets its parameters, keeps its port shut to strangers and lets
running answers finish when it is told to stop.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

import psutil
import xllamacpp

from loopwright.engines.children import ENVIRONMENT, wait_for_end
from loopwright.engines.metrics import count, samples

_KV_TYPES = {
    "f16": xllamacpp.ggml_type.GGML_TYPE_F16,
    "q8_0": xllamacpp.ggml_type.GGML_TYPE_Q8_0,
    "q4_0": xllamacpp.ggml_type.GGML_TYPE_Q4_0,
}
_WARNINGS = 2


def parameters(told: Mapping[str, Any]) -> xllamacpp.CommonParams:
    """llama.cpp's parameters for the arguments of a plan."""
    params = xllamacpp.CommonParams()
    params.model.path = told["path"]
    params.model_alias = {told["name"]}  # else answers name the file's path
    params.lora_adapters = [_adapter(path) for path in told["adapters"]]
    params.lora_init_without_apply = True
    _shape(params, told)
    # The port: loopback only, nothing without the secret, no page of another origin may read it, no web UI.
    params.hostnames = ["127.0.0.1"]
    params.port = told["port"]
    params.api_keys = [told["secret"]]
    params.cors_origins = ""
    params.cors_credentials = False
    params.ui = False
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.verbosity = _WARNINGS
    if told["chat_template"]:
        params.chat_template = told["chat_template"]
    return params


def _adapter(path: str) -> xllamacpp.CommonAdapterLoraInfo:
    """An adapter that is loaded, and counts only for requests that say so: the scale here is that of all others."""
    info = xllamacpp.CommonAdapterLoraInfo()
    info.path = path
    info.scale = 0.0  # `lora_init_without_apply` alone leaves it at what stands here
    return info


def _shape(params: xllamacpp.CommonParams, told: Mapping[str, Any]) -> None:
    """Context, slots, threads and formats."""
    params.n_parallel = told["slots"]
    params.n_ctx = told["context"] * told["slots"]  # the library divides it among the slots
    params.n_batch = params.n_ubatch = told["batch"]
    params.fit_params = False  # the plan has done the arithmetic
    params.cache_ram_mib = int(told["prompt_cache_mib"])  # the default would be 8 GiB
    params.cache_type_k = params.cache_type_v = _KV_TYPES[told["kv_type"]]
    flash = xllamacpp.llama_flash_attn_type
    params.flash_attn_type = (
        flash.LLAMA_FLASH_ATTN_TYPE_ENABLED if told["flash"] else flash.LLAMA_FLASH_ATTN_TYPE_DISABLED
    )
    for threads in (params.cpuparams, params.cpuparams_batch):
        threads.n_threads = told["threads"]
        threads.poll = 0  # spinning at barriers collapses as soon as another process wants the core


def close_the_door(port: int) -> None:
    """Stop accepting connections on `port` while those that are open go on.

    The library can only stop as a whole, which cuts running answers. So the listening socket is swapped beneath it for
    one that nobody knows; a last connection wakes the accept() that still holds the old one.
    """
    listening = [
        connection.fd
        for connection in psutil.Process().net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    ]
    for fd in listening:
        nobody = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        nobody.bind("")  # Linux picks an abstract name
        nobody.listen(1)
        os.dup2(nobody.fileno(), fd, inheritable=False)
        nobody.close()
    if listening:
        with socket.socket() as last:
            last.settimeout(1.0)
            last.connect_ex(("127.0.0.1", port))


def wait_until_idle(server: xllamacpp.Server, grace: float) -> bool:
    """Wait until no request runs or waits, at most `grace` seconds; whether that came true."""
    end = time.monotonic() + grace
    quiet = 0
    while time.monotonic() < end:
        seen = samples(str(server.handle_metrics()).encode())
        busy = count(seen, "llamacpp:requests_processing") + count(seen, "llamacpp:requests_deferred")
        quiet = 0 if busy else quiet + 1
        if quiet == 3:  # a request may be between its socket and its slot, an answer between its slot and its socket
            return True
        time.sleep(0.1)
    return False


def main() -> None:
    """Load, serve until told to stop, drain."""
    told = json.loads(os.environ.pop(ENVIRONMENT))
    begun = time.monotonic()
    try:
        server = xllamacpp.Server(parameters(told))
    except RuntimeError as error:
        sys.exit(f"llama.cpp could not load {told['path']}: {error}")
    print(f"{told['name']}: loaded in {time.monotonic() - begun:.1f} s, port {told['port']}", flush=True)  # noqa: T201
    wait_for_end()
    close_the_door(told["port"])
    idle = wait_until_idle(server, float(told["grace"]))
    print(f"{told['name']}: stopped {'idle' if idle else 'with answers cut off'}", flush=True)  # noqa: T201
    os._exit(0)  # the library's own teardown waits for connections that are merely kept alive


if __name__ == "__main__":
    main()
