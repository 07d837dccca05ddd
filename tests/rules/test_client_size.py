"""How large a client is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.embedded import Server

MOST_ATTRIBUTES = 29
ADVICE = (
    "CPython keeps up to 30 attributes of an object inline; with more, each look-up of a method "
    "goes through dicts: keep state in an object that one of the others owns"
)


def test_a_client_has_few_attributes() -> None:
    assert len(vars(Client())) <= MOST_ATTRIBUTES, ADVICE


async def test_a_connected_client_has_few_attributes(
    connect: Callable[..., Awaitable[Client]], js_server: Server
) -> None:
    client = await connect()
    await client.subscribe("subject")
    js = client.jetstream()
    await js.add_stream(name="stream", subjects=["stored"])
    await js.publish("stored", b"")
    assert len(vars(client)) <= MOST_ATTRIBUTES, ADVICE
