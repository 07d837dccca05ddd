"""What a client holds, and who sets its status."""

from __future__ import annotations

import ast
from collections.abc import Awaitable, Callable, Iterator

from nats.aio.client import Client
from nats.embedded import Server
from support.sources import files, text_of

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


def writers(attribute: str) -> Iterator[str]:
    """Files of the package that assign to an attribute of this name."""
    for name in files(".py", below=("python/",)):
        for node in ast.walk(ast.parse(text_of(name))):
            targets = (
                node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            )
            if any(isinstance(each, ast.Attribute) and each.attr == attribute for each in targets):
                yield name.rpartition("/")[2]


def test_the_session_alone_sets_the_status() -> None:
    # `Unconnected` stands in for a core that isn't there yet, and begins with a status.
    assert {*writers("status"), *writers("_status")} == {"_session.py", "_unconnected.py"}, (
        "ask the session for what you need: it alone knows in which order states may follow"
    )
