"""Requests: replies find their request, and whoever gives up leaves nothing behind."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import nats
import pytest
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from support.connecting import Connect

pytestmark = pytest.mark.usefixtures("driver")

TIMEOUT = 30.0

both_styles = pytest.mark.parametrize("old_style", [False, True], ids=["new", "old"])


async def serve(nc: Any, subject: str = "service") -> Any:
    """Answer each request with what it brought."""

    async def handler(msg: Any) -> None:
        await msg.respond(b"re: " + msg.data)

    sub = await nc.subscribe(subject, cb=handler)
    await nc.flush()
    return sub


async def swallow(nc: Any, subject: str = "silence") -> Any:
    """Take requests and answer none; their messages can be read from the result."""
    sub = await nc.subscribe(subject)
    await nc.flush()
    return sub


def assert_nothing_waits(nc: Any) -> None:
    requests, deadlines, _, pongs = nc._core.census()
    assert (requests, deadlines, pongs) == (0, 0, 0)


@both_styles
async def test_reply(connect: Connect, old_style: bool) -> None:
    server, client = await connect(), await connect()
    await serve(server)
    for number in range(3):
        payload = b"%d" % number
        reply = await client.request("service", payload, timeout=TIMEOUT, old_style=old_style)
        assert reply.data == b"re: " + payload
        assert reply.subject.startswith("_INBOX.")
        assert reply.headers is None
    assert_nothing_waits(client)
    # The shared inbox stays, a subscription of one request does not.
    assert len(client._subs) == (0 if old_style else 1)


@both_styles
@pytest.mark.parametrize("timeout", [0.05, 0, -1])
async def test_timeout(connect: Connect, old_style: bool, timeout: float) -> None:
    nc = await connect()
    await swallow(nc)
    before, started = len(nc._subs), time.monotonic()
    with pytest.raises(errors.TimeoutError) as caught:
        await nc.request("silence", b"x", timeout=timeout, old_style=old_style)
    assert max(timeout, 0) <= time.monotonic() - started + 0.01
    assert isinstance(caught.value, asyncio.TimeoutError)
    assert_nothing_waits(nc)
    assert len(nc._subs) == before + (0 if old_style else 1)


@both_styles
async def test_no_responders(connect: Connect, old_style: bool) -> None:
    nc = await connect()
    with pytest.raises(errors.NoRespondersError) as caught:
        await nc.request("nobody.here", b"x", timeout=TIMEOUT, old_style=old_style)
    assert not isinstance(caught.value, asyncio.TimeoutError)
    text = 'nats: no responders available for request: "nobody.here"'
    assert str(caught.value) == text
    assert_nothing_waits(nc)
    assert len(nc._subs) == (0 if old_style else 1)


@both_styles
async def test_timeout_none_waits(connect: Connect, old_style: bool) -> None:
    nc = await connect()
    sub = await swallow(nc)
    waiting = asyncio.ensure_future(nc.request("silence", timeout=None, old_style=old_style))
    msg = await sub.next_msg(TIMEOUT)
    await nc.flush()
    assert not waiting.done()
    await msg.respond(b"late")
    assert (await asyncio.wait_for(waiting, TIMEOUT)).data == b"late"
    assert_nothing_waits(nc)


@both_styles
async def test_many_at_once(connect: Connect, old_style: bool) -> None:
    server, client = await connect(), await connect()
    await serve(server)

    async def ask(number: int) -> bytes:
        payload = b"%d" % number
        reply = await client.request("service", payload, timeout=TIMEOUT, old_style=old_style)
        data: bytes = reply.data
        return data

    replies = await asyncio.gather(*(ask(number) for number in range(500)))
    assert replies == [b"re: %d" % number for number in range(500)]
    assert_nothing_waits(client)


async def test_replies_out_of_order(connect: Connect) -> None:
    nc = await connect()
    sub = await swallow(nc)
    asking = [asyncio.ensure_future(nc.request("silence", b"%d" % n, TIMEOUT)) for n in range(20)]
    msgs = [await sub.next_msg(TIMEOUT) for _ in range(20)]
    assert len({msg.reply for msg in msgs}) == 20
    for msg in reversed(msgs):
        await msg.respond(msg.data)
    replies = await asyncio.wait_for(asyncio.gather(*asking), TIMEOUT)
    assert [int(reply.data) for reply in replies] == list(range(20))


@both_styles
async def test_late_and_second_replies_are_ignored(connect: Connect, old_style: bool) -> None:
    nc = await connect()
    sub = await swallow(nc)
    with pytest.raises(errors.TimeoutError):
        await nc.request("silence", b"1", timeout=0.02, old_style=old_style)
    late = await sub.next_msg(TIMEOUT)
    asking = asyncio.ensure_future(nc.request("silence", b"2", TIMEOUT, old_style=old_style))
    in_time = await sub.next_msg(TIMEOUT)
    await late.respond(b"late")
    await in_time.respond(b"first")
    await in_time.respond(b"second")
    assert (await asking).data == b"first"
    await nc.flush()
    assert_nothing_waits(nc)


async def test_strange_messages_to_the_inbox_are_ignored(connect: Connect) -> None:
    nc = await connect()
    sub = await swallow(nc)
    asking = asyncio.ensure_future(nc.request("silence", timeout=TIMEOUT))
    msg = await sub.next_msg(TIMEOUT)
    prefix = msg.reply.rpartition(".")[0]
    for token in ("0", "-1", "x", "99999999999999999999999", "1é"):
        await nc.publish(f"{prefix}.{token}", b"strange")
    await nc.flush()
    assert not asking.done()
    await msg.respond(b"right")
    assert (await asking).data == b"right"


async def test_cancellation_leaves_nothing_behind(connect: Connect) -> None:
    nc = await connect()
    sub = await swallow(nc)
    asking = [asyncio.ensure_future(nc.request("silence", timeout=30)) for _ in range(50)]
    await sub.next_msg(TIMEOUT)
    assert nc._core.census()[:2] == (50, 50)
    for task in asking:
        task.cancel()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(result) for result in results} == {asyncio.CancelledError}
    assert_nothing_waits(nc)


async def test_cancelled_old_style_request_gives_up_its_subscription(connect: Connect) -> None:
    nc = await connect()
    sub = await swallow(nc)
    asking = asyncio.ensure_future(nc.request("silence", timeout=30, old_style=True))
    await sub.next_msg(TIMEOUT)
    asking.cancel()
    await asyncio.wait([asking], timeout=TIMEOUT)
    assert asking.cancelled()
    await nc.flush()
    assert list(nc._subs.values()) == [sub]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("service", bytes(2_000_000)), errors.MaxPayloadError),
        (("service", "text"), TypeError),
        (("service", None), TypeError),
        (("a b", b""), errors.BadSubjectError),
        (("", b""), errors.BadSubjectError),
    ],
)
async def test_a_request_that_cannot_be_sent(
    connect: Connect, arguments: Any, error: type[Exception]
) -> None:
    nc = await connect()
    with pytest.raises(error):
        await nc.request(*arguments, timeout=TIMEOUT)
    with pytest.raises(errors.BadHeaderError):
        await nc.request("service", headers={"a b": "c"})
    assert_nothing_waits(nc)


async def test_request_within_a_handler(connect: Connect) -> None:
    nc = await connect()
    await serve(nc)

    async def handler(msg: Any) -> None:
        inner = await nc.request("service", msg.data, timeout=TIMEOUT)
        await msg.respond(b"outer " + inner.data)

    await nc.subscribe("outer", cb=handler)
    reply = await nc.request("outer", b"x", timeout=TIMEOUT)
    assert reply.data == b"outer re: x"


async def test_headers_go_both_ways(connect: Connect) -> None:
    nc = await connect()

    async def handler(msg: Any) -> None:
        assert msg.headers == {"Asked": "1"}
        await nc.publish(msg.reply, b"x", headers={"Answered": "2"})

    await nc.subscribe("service", cb=handler)
    reply = await nc.request("service", timeout=TIMEOUT, headers={"Asked": "1"})
    assert reply.headers == {"Answered": "2"}


@pytest.mark.parametrize("prefix", ["mine", b"mine.deep", "_INBOX_user"])
async def test_inbox_prefix(connect: Connect, prefix: str | bytes) -> None:
    nc = await connect(inbox_prefix=prefix)
    text = prefix.decode() if isinstance(prefix, bytes) else prefix
    sub = await swallow(nc)
    for old_style in (False, True):
        asking = asyncio.ensure_future(nc.request("silence", timeout=TIMEOUT, old_style=old_style))
        msg = await sub.next_msg(TIMEOUT)
        assert msg.reply.startswith(text + ".")
        await msg.respond(b"x")
        assert (await asking).subject == msg.reply
    assert nc.new_inbox().startswith(text + ".")
    assert nc.new_inbox() != nc.new_inbox()


async def test_inbox_subjects_have_the_reference_form(connect: Connect) -> None:
    nc = await connect()
    assert [len(part) for part in nc.new_inbox().split(".")] == [6, 22]
    sub = await swallow(nc)
    for _ in range(2):
        with pytest.raises(errors.TimeoutError):
            await nc.request("silence", timeout=0.01)
    first, second = [(await sub.next_msg(TIMEOUT)).reply.split(".") for _ in range(2)]
    assert [len(part) for part in first[:2]] == [6, 22]
    assert len(first) == 3
    assert first[:2] == second[:2], "one inbox for all"
    assert first[2] != second[2]


async def test_overridden_publish_is_used(server: Server, driver: str) -> None:
    class Recording(Client):
        def __init__(self) -> None:
            super().__init__()
            self.published: list[str] = []

        async def publish(self, subject: str, *args: Any, **options: Any) -> None:
            self.published.append(subject)
            options["headers"] = {**(options.get("headers") or {}), "Added": "1"}
            await super().publish(subject, *args, **options)

    nc = Recording()
    await nc.connect(server.url)
    try:

        async def handler(msg: Any) -> None:
            assert msg.headers == {"Added": "1"}
            await msg.respond(b"x")

        await nc.subscribe("service", cb=handler)
        for old_style in (False, True):
            nc.published.clear()
            reply = await nc.request("service", b"", TIMEOUT, old_style)
            assert reply.headers == {"Added": "1"}
            assert nc.published == ["service", reply.subject]
    finally:
        await nc.close()


async def test_overridden_subscribe_that_wraps_handlers(server: Server, driver: str) -> None:
    """Instrumentation does this; the shared inbox goes through it as well."""
    wrapped: list[str] = []

    class Wrapping(Client):
        async def subscribe(self, subject: str, *args: Any, cb: Any = None, **options: Any) -> Any:
            async def wrapper(msg: Any) -> None:
                wrapped.append(msg.subject)
                await cb(msg)

            return await super().subscribe(
                subject,
                *args,
                cb=cb and wrapper,  # type: ignore[misc]
                **options,
            )

    nc = Wrapping()
    await nc.connect(server.url)
    try:
        await serve(nc)
        reply = await nc.request("service", b"1", timeout=TIMEOUT)
        assert reply.data == b"re: 1"
        assert wrapped == ["service", reply.subject]
        with pytest.raises(errors.NoRespondersError):
            await nc.request("nobody", timeout=TIMEOUT)
        assert_nothing_waits(nc)
    finally:
        await nc.close()


async def test_close_ends_waiting_requests(server: Server) -> None:
    """nats-py leaves them to their timeout; either way they end, and with an error of ours."""
    nc = await nats.connect(server.url)
    sub = await swallow(nc)
    asking = asyncio.ensure_future(nc.request("silence", timeout=0.3))
    await sub.next_msg(TIMEOUT)
    await nc.close()
    with pytest.raises((errors.TimeoutError, errors.ConnectionClosedError)):
        await asyncio.wait_for(asking, TIMEOUT)
    with pytest.raises(errors.ConnectionClosedError):
        await nc.request("silence")


async def test_several_servers_of_one_subject_answer_once(connect: Connect) -> None:
    client = await connect()
    for _ in range(3):
        await serve(await connect())
    for _ in range(10):
        assert (await client.request("service", b"x", timeout=TIMEOUT)).data == b"re: x"
    await client.flush()
    assert_nothing_waits(client)
