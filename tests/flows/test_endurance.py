"""Clients that take more than they should: connections, time, memory."""

import asyncio
import resource
import socket

import pytest
from openai import OpenAI

from tests.flows.house import House, wait

IDLE = 10_000


def test_ten_thousand_idle_connections_do_not_stop_service(house: House) -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < IDLE + 500:
        pytest.skip(f"this machine allows {hard} open files a process, {IDLE + 500} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    host, port = house.url.removeprefix("http://").split(":")
    idle: list[socket.socket] = []
    try:
        idle.extend(socket.create_connection((host, int(port)), timeout=30) for _ in range(IDLE))
        [worker] = house.children("_gateway")
        wait(lambda: worker.num_fds() > IDLE)
        client = OpenAI(base_url=f"{house.url}/v1", api_key=house.key, max_retries=0)
        answer = client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "count 1"}])
        assert answer.choices[0].message.content == "answer 1"
        assert worker.memory_info().rss < 600_000_000
    finally:
        for connection in idle:
            connection.close()


def test_a_client_that_stops_reading_holds_no_memory(house: House) -> None:
    async def main() -> None:
        [worker] = house.children("_gateway")
        host, port = house.url.removeprefix("http://").split(":")
        before = worker.memory_info().rss
        body = b'{"model":"flood","stream":true,"messages":[{"role":"user","content":"%b"}]}' % (b"without end " * 1500)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {house.key}\r\n"
        request = head.encode() + b"content-length: %d\r\n\r\n%b" % (len(body), body)
        writers = []
        for _ in range(20):
            reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
            writer.write(request)
            await reader.readuntil(b"data: ")
            writers.append(writer)
        await asyncio.sleep(3)
        grown = worker.memory_info().rss - before
        for writer in writers:
            writer.close()
        assert grown < 150_000_000, f"{grown:,} bytes for 20 clients that do not read"

    asyncio.run(main())
