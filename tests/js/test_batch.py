"""Messages of an atomic batch (ADR-50), published one by one."""

from __future__ import annotations

from typing import Any

import pytest
from nats.embedded import Server
from nats.js import api, errors
from support.connecting import Connect
from support.waiting import within

pytestmark = pytest.mark.usefixtures("driver")

COUNT = 4
OPEN = api.PubAck(stream="", seq=0)
COMMITTED = api.PubAck("S", COUNT, batch_id="b", batch_size=COUNT)


def part(number: int) -> dict[str, str]:
    """Headers of one message of the batch; the last one commits it."""
    headers = {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": str(number)}
    return headers if number < COUNT else {**headers, "Nats-Batch-Commit": "1"}


async def begin(connect: Connect) -> tuple[Any, Any]:
    nc = await connect()
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s"], storage="memory", allow_atomic=True)
    return nc, js


async def test_publish(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect)
    acks = [await js.publish("s", b"x", headers=part(number)) for number in range(1, COUNT)]
    assert acks == [OPEN] * (COUNT - 1)
    assert (await js.stream_info("S")).state.messages == 0
    assert await js.publish("s", b"x", headers=part(COUNT)) == COMMITTED
    assert (await js.stream_info("S")).state.messages == COUNT


async def test_publish_async(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect)
    futures = [
        await js.publish_async("s", b"x", headers=part(number)) for number in range(1, COUNT + 1)
    ]
    acks = [await within(future) for future in futures]
    assert acks == [OPEN] * (COUNT - 1) + [COMMITTED]
    await within(js.publish_async_completed())


async def test_through_a_request_of_the_application(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    nc, js = await begin(connect)
    plain = type(nc).request

    async def request(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await plain(self, *args, **kwargs)

    monkeypatch.setattr(type(nc), "request", request)
    acks = [await js.publish("s", b"x", headers=part(number)) for number in range(1, COUNT + 1)]
    assert acks == [OPEN] * (COUNT - 1) + [COMMITTED]


async def test_a_batch_with_a_gap_is_refused(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect)
    assert await js.publish("s", b"x", headers=part(1)) == OPEN
    with pytest.raises(errors.APIError):
        await js.publish("s", b"x", headers=part(COUNT))
    assert (await js.stream_info("S")).state.messages == 0
