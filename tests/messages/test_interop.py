"""Working together with an independent client: async-nats."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from nats import errors
from nats.aio.msg import Msg
from nats.embedded import Server
from support.connecting import Connect
from support.peer import command
from support.waiting import PATIENCE, eventually, within

pytestmark = pytest.mark.usefixtures("driver")


class Peer:
    """A process of the other client, which reports in lines of JSON."""

    def __init__(self, mode: str, server: Server, *options: str) -> None:
        self._process = subprocess.Popen(
            command(mode, server, *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    async def report(self) -> Any:
        """The next line."""
        assert self._process.stdout is not None
        # `end` closes the pipe's other side, so the thread doesn't stay behind.
        line = await within(asyncio.to_thread(self._process.stdout.readline))
        if not line:
            pytest.fail(f"the peer ended: {await within(asyncio.to_thread(self._errors))}")
        return json.loads(line)

    async def ready(self) -> None:
        assert await self.report() == {"ready": True}

    def end(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=PATIENCE)

    def _errors(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read()


@contextlib.contextmanager
def peer(mode: str, server: Server, *options: str) -> Iterator[Peer]:
    process = Peer(mode, server, *options)
    try:
        yield process
    finally:
        process.end()


def pairs(*headers: str) -> list[str]:
    return [word for header in headers for word in ("--header", header)]


async def test_plain_messages_from_the_peer(server: Server, connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("interop.>")
    await nc.flush()
    with peer("headers", server, "--subject", "interop.plain", "--payload", "grüße") as other:
        assert await other.report() == {"published": True}
    msg = await sub.next_msg(5)
    assert (msg.subject, msg.reply, msg.headers) == ("interop.plain", "", None)
    assert msg.data.decode() == "grüße"


async def test_headers_from_the_peer(server: Server, connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("interop.*")
    await nc.flush()
    options = ["--subject", "interop.headers", "--reply", "interop.reply", "--payload", "body"]
    headers = pairs("First=one", "x-Mixed-CASE=two words", "Text=a:b=c, d", "Umlaut=ü€", "Empty=")
    with peer("headers", server, *options, *headers) as other:
        assert await other.report() == {"published": True}
    msg = await sub.next_msg(5)
    assert msg.headers == {
        "First": "one",
        "x-Mixed-CASE": "two words",
        "Text": "a:b=c, d",
        "Umlaut": "ü€",
        "Empty": "",
    }
    assert (msg.subject, msg.reply) == ("interop.headers", "interop.reply")
    assert msg.data == b"body"


async def test_a_header_of_the_peer_with_several_values(server: Server, connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("interop")
    await nc.flush()
    headers = pairs("Many=one", "Many=two", "Many=three", "Single=alone")
    with peer("headers", server, "--subject", "interop", *headers) as other:
        assert await other.report() == {"published": True}
    msg = await sub.next_msg(5)
    # A dict of strings has room for one value: the last one, as in nats-py.
    assert msg.headers == {"Many": "three", "Single": "alone"}
    assert msg.data == b""


async def test_our_messages_at_the_peer(server: Server, connect: Connect) -> None:
    nc = await connect()
    large = "x" * 300_000
    with peer("sub", server, "--subject", "interop.>", "--count", "4") as other:
        await other.ready()
        await nc.publish("interop.plain", "grüße".encode())
        await nc.publish("interop.reply", b"", reply="answer.here")
        await nc.publish(
            "interop.headers",
            b"body",
            headers={"First": "one", "x-Mixed-CASE": "two words", "Text": "a:b=c", "U": "ü€"},
        )
        await nc.publish("interop.large", large.encode(), headers={"Only": "header"})
        plain, reply, headers, big = [await other.report() for _ in range(4)]
    assert plain == {
        "subject": "interop.plain",
        "reply": None,
        "status": None,
        "description": None,
        "headers": None,
        "payload": "grüße",
        "size": 7,
    }
    assert (reply["reply"], reply["size"]) == ("answer.here", 0)
    assert headers["headers"] == {
        "First": ["one"],
        "x-Mixed-CASE": ["two words"],
        "Text": ["a:b=c"],
        "U": ["ü€"],
    }
    assert headers["payload"] == "body"
    assert headers["reply"] is None
    assert big["payload"] == large
    assert big["headers"] == {"Only": ["header"]}


async def test_the_peer_answers_our_requests(server: Server, connect: Connect) -> None:
    nc = await connect()
    with peer("echo", server, "--subject", "echo.*") as other:
        await other.ready()
        reply = await nc.request("echo.plain", b"ping", timeout=5)
        assert (reply.data, reply.headers) == (b"ping", None)
        reply = await nc.request("echo.headers", b"", timeout=5, headers={"A": "1", "B-c": "two"})
        assert (reply.data, reply.headers) == (b"", {"A": "1", "B-c": "two"})
        reply = await nc.request("echo.old", b"old", timeout=5, old_style=True)
        assert reply.data == b"old"
        payloads = [b"%d" % number for number in range(500)]
        replies = await within(
            asyncio.gather(*(nc.request("echo.many", payload, timeout=5) for payload in payloads))
        )
        assert [reply.data for reply in replies] == payloads


async def test_our_handler_answers_the_peer(server: Server, connect: Connect) -> None:
    nc = await connect()
    requests: list[Msg] = []

    async def handler(msg: Msg) -> None:
        requests.append(msg)
        await nc.publish(msg.reply, msg.data.upper(), headers={"Answer": "yes", "Second": "two"})

    await nc.subscribe("service", cb=handler)
    await nc.flush()
    options = ["--subject", "service", "--payload", "hello", *pairs("Ask=nicely")]
    with peer("request", server, *options) as other:
        answer = await other.report()
    assert answer["payload"] == "HELLO"
    assert answer["headers"] == {"Answer": ["yes"], "Second": ["two"]}
    assert answer["status"] is None
    assert [(msg.data, msg.headers) for msg in requests] == [(b"hello", {"Ask": "nicely"})]


async def test_respond_answers_the_peer(server: Server, connect: Connect) -> None:
    nc = await connect()

    async def handler(msg: Msg) -> None:
        await msg.respond(msg.data[::-1])

    await nc.subscribe("service", cb=handler)
    await nc.flush()
    with peer("request", server, "--subject", "service", "--payload", "abc") as other:
        answer = await other.report()
    assert (answer["payload"], answer["headers"]) == ("cba", None)


async def test_no_responders_on_either_side(server: Server, connect: Connect) -> None:
    nc = await connect()
    with pytest.raises(errors.NoRespondersError):
        await within(nc.request("nobody", b"", timeout=PATIENCE))
    with peer("request", server, "--subject", "nobody", "--timeout", "8") as other:
        assert await other.report() == {"error": "no responders"}
    # A subscriber that keeps silent is something else on both sides.
    await nc.subscribe("silent")
    await nc.flush()
    with pytest.raises(errors.TimeoutError):
        await within(nc.request("silent", b"", timeout=0.2))
    with peer("request", server, "--subject", "silent", "--timeout", "0.2") as other:
        assert await other.report() == {"error": "timed out"}


async def test_no_responders_once_the_peer_is_gone(server: Server, connect: Connect) -> None:
    nc = await connect()
    with peer("echo", server, "--subject", "echo") as other:
        await other.ready()
        assert (await nc.request("echo", b"1", timeout=5)).data == b"1"

    async def refused() -> None:
        # Until the server has noticed the end of the peer, requests may time out.
        with contextlib.suppress(errors.TimeoutError):
            while True:
                await nc.request("echo", b"2", timeout=0.2)

    with pytest.raises(errors.NoRespondersError):
        await within(_repeat(refused))


async def _repeat(action: Any) -> None:
    while True:
        await action()


async def test_a_queue_group_with_members_on_both_sides(server: Server, connect: Connect) -> None:
    nc = await connect()
    sender = await connect()
    total = 3000
    received: list[list[int]] = [[], []]

    def member(place: int) -> Any:
        async def handler(msg: Msg) -> None:
            received[place].append(int(msg.data))

        return handler

    for place in range(2):
        await nc.subscribe("work", queue="workers", cb=member(place))
    await nc.flush()
    options = ["--subject", "work", "--queue", "workers", "--members", "2", "--idle", "1.5"]
    with peer("queue", server, *options) as other:
        await other.ready()
        for number in range(total):
            await sender.publish("work", b"%d" % number)
        await sender.flush()
        theirs = await other.report()
    await eventually(
        lambda: sum(map(len, received)) + theirs["total"] >= total, "every message is delivered"
    )
    ours = received[0] + received[1]
    assert len(ours) + theirs["total"] == total
    assert len(set(ours)) == len(ours)
    assert sum(theirs["counts"]) == theirs["total"]
    for share in (*map(len, received), *theirs["counts"]):
        assert share > total / 20
    for numbers in received:
        assert numbers == sorted(numbers)


async def test_queue_members_of_the_peer_get_the_rest(server: Server, connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("work", queue="workers")
    await nc.flush()
    options = ["--subject", "work", "--queue", "workers", "--members", "1", "--count", "100"]
    with peer("queue", server, *options) as other:
        await other.ready()
        await sub.unsubscribe()
        await nc.flush()
        for number in range(100):
            await nc.publish("work", b"%d" % number)
        assert await other.report() == {"counts": [100], "total": 100}
