"""What programs written for nats-py put in the place of the context's own parts."""

from __future__ import annotations

from typing import Any

import pytest
from nats.embedded import Server
from nats.js import JetStreamContext, api
from support.connecting import Connect
from support.streams import begin
from support.waiting import eventually, within

pytestmark = pytest.mark.usefixtures("driver")


class Around:
    """Hands on to another object whatever it doesn't know itself."""

    def __init__(self, inner: Any, **own: Any) -> None:
        self.inner = inner
        vars(self).update(own)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.mark.parametrize("ordered", [False, True], ids=["plain", "ordered"])
async def test_classes_of_a_push_subscription(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch, ordered: bool
) -> None:
    state, subscription = JetStreamContext._JSI, JetStreamContext.PushSubscription
    made: list[str] = []

    def make_state(**parts: Any) -> Any:
        made.append("state")
        return Around(state(**parts))

    class Subscription(Around):
        def __init__(self, js: Any, sub: Any, stream: str, consumer: str) -> None:
            made.append("subscription")
            super().__init__(subscription(js, sub, stream, consumer), _sub=sub)

    _, js = await begin(connect, 3)
    monkeypatch.setattr(JetStreamContext, "_JSI", make_state)
    monkeypatch.setattr(JetStreamContext, "PushSubscription", Subscription)
    sub = await js.subscribe("s.a", ordered_consumer=ordered)
    assert made == ["subscription", "state"]
    assert isinstance(sub, Subscription)
    assert [(await sub.next_msg(5)).data for _ in range(3)] == [b"0", b"1", b"2"]
    assert (await sub.consumer_info()).stream_name == "S"
    consumer = (await sub.consumer_info()).name
    await sub.unsubscribe()

    async def look() -> bool:
        return consumer not in [info.name for info in await js.consumers_info("S")]

    await eventually(look)


async def test_classes_of_a_watcher(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = JetStreamContext._JSI
    js = (await connect()).jetstream()
    kv = await js.create_key_value(bucket="B", storage=api.StorageType.MEMORY)
    await kv.put("a", b"1")
    monkeypatch.setattr(JetStreamContext, "_JSI", lambda **parts: Around(state(**parts)))
    assert await within(kv.keys()) == ["a"]
    assert [entry.value for entry in await within(kv.history("a"))] == [b"1"]


async def test_wrapper_of_a_client(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, 1)

    class Names:
        def next(self) -> bytearray:
            return bytearray(b"chosen")

    wrapper: Any = Around(nc, _nuid=Names(), _inbox_prefix=bytearray(b"_OWN"))
    context = JetStreamContext(wrapper)
    sub = await context.pull_subscribe("s.a")
    assert sub._sub.subject == "_OWN.chosen.*"
    assert (await sub.consumer_info()).name == "chosen"
    store = await js.create_object_store(
        "O", config=api.ObjectStoreConfig(storage=api.StorageType.MEMORY)
    )
    store._js = context
    assert (await store.put("a", b"1")).nuid == "chosen"


async def test_helpers_of_a_subclass(js_server: Server, connect: Connect) -> None:
    class Context(JetStreamContext):
        async def _call(self) -> None: ...
        async def _list(self) -> None: ...
        async def _request(self) -> None: ...

    nc, _ = await begin(connect, 1)
    js = Context(nc)
    assert [info.config.name for info in await js.streams_info()] == ["S"]
    assert (await js.get_msg("S", seq=1)).data == b"0"
