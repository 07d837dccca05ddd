"""Errors of JetStream name the thing that they are about, and the next step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats import errors as core_errors
from nats.embedded import Server
from nats.js import api, errors
from nats.js.client import JetStreamContext
from nats.js.errors import APIError
from support.connecting import Connect
from support.waiting import within

pytestmark = pytest.mark.usefixtures("driver")

UNAVAILABLE = "is JetStream enabled on the server and for this account?"

Call = Callable[[JetStreamContext], Awaitable[object]]


async def refused(call: Awaitable[object]) -> errors.Error:
    """The error that a call ends with."""
    with pytest.raises(errors.Error) as caught:
        await within(call)
    error = caught.value
    assert "code=None" not in str(error)
    assert "None" not in str(error)
    if isinstance(error, APIError):
        assert error.code is not None
    return error


MANAGEMENT: dict[str, tuple[Call, str, str]] = {
    "stream": (
        lambda js: js.stream_info("T"),
        "nats: NotFoundError: code=404 err_code=10059 description='stream not found'",
        "stream 'T'",
    ),
    "consumer": (
        lambda js: js.consumer_info("S", "c"),
        "nats: NotFoundError: code=404 err_code=10014 description='consumer not found'",
        "consumer 'c' of stream 'S'",
    ),
    "durable": (
        lambda js: js.add_consumer("S", durable_name="d", deliver_subject="s"),
        "nats: BadRequestError: code=400 err_code=10081",
        "consumer 'd' of stream 'S'",
    ),
    "other configuration": (
        lambda js: js.add_stream(name="S", subjects=["x"]),
        "nats: BadRequestError: code=400 err_code=10058",
        "stream 'S'",
    ),
    "message": (
        lambda js: js.get_msg("S", 9),
        "nats: NotFoundError: code=404 err_code=10037 description='no message found'",
        "stream 'S'",
    ),
    "message of a replica": (
        lambda js: js.get_msg("S", 9, direct=True),
        "nats: NotFoundError: code=404",
        "stream 'S', {\"seq\": 9}",
    ),
    "subject": (
        lambda js: js.subscribe("nowhere"),
        "nats: NotFoundError: code=404",
        "no stream stores subject 'nowhere': add_stream() creates one",
    ),
    "expectation": (
        lambda js: js.publish("s", headers={"Nats-Expected-Last-Sequence": "9"}),
        "nats: BadRequestError: code=400 err_code=10071 description='wrong last sequence: 0'",
        "published to 's'",
    ),
    "no stream": (
        lambda js: js.publish("nowhere"),
        "nats: no response from stream",
        "does a stream store 'nowhere', and is JetStream enabled?",
    ),
    "bucket": (
        lambda js: js.key_value("B"),
        "nats: BucketNotFoundError: code=404",
        "bucket 'B': create_key_value() creates it",
    ),
    "store": (
        lambda js: js.object_store("B"),
        "nats: BucketNotFoundError: code=404",
        "object store 'B': create_object_store() creates it",
    ),
    "name of a bucket": (
        lambda js: js.key_value("a.b"),
        "nats: JetStream.InvalidBucketNameError",
        "'a.b': a name has letters, digits, '_' and '-' only",
    ),
    "history": (
        lambda js: js.create_key_value(bucket="B", history=65),
        "nats: history limited to a max of 64",
        "bucket 'B', history of 65",
    ),
}


@pytest.mark.parametrize("what", MANAGEMENT)
async def test_streams_and_consumers(js_server: Server, connect: Connect, what: str) -> None:
    js = (await connect()).jetstream()
    await js.add_stream(name="S", subjects=["s"], storage="memory", allow_direct=True)
    call, text, details = MANAGEMENT[what]
    error = await refused(call(js))
    # What programs written for nats-py look for comes first.
    assert str(error).startswith(text)
    assert str(error).endswith(f" ({details})")
    assert error.details == details


async def test_a_stream_that_is_no_bucket(js_server: Server, connect: Connect) -> None:
    js = (await connect()).jetstream()
    await js.add_stream(name="KV_B", subjects=["b"])
    error = await refused(js.key_value("B"))
    assert "stream 'KV_B' is no bucket: its max_msgs_per_subject is -1" in str(error)


WITHOUT_JETSTREAM: dict[str, Call] = {
    "account": lambda js: js.account_info(),
    "stream": lambda js: js.add_stream(name="S", subjects=["s"]),
    "bucket": lambda js: js.create_key_value(bucket="B"),
    "opening a bucket": lambda js: js.key_value("B"),
    "subscribing": lambda js: js.pull_subscribe("s", "d"),
}


@pytest.mark.parametrize("what", WITHOUT_JETSTREAM)
async def test_without_jetstream(server: Server, connect: Connect, what: str) -> None:
    js = (await connect()).jetstream()
    error = await refused(WITHOUT_JETSTREAM[what](js))
    assert isinstance(error, errors.ServiceUnavailableError)
    assert str(error).startswith("nats: ServiceUnavailableError: code=503 (nobody answers $JS.API.")
    assert UNAVAILABLE in str(error)


async def test_publishing_without_jetstream(server: Server, connect: Connect) -> None:
    js = (await connect()).jetstream()
    error = await refused(js.publish("s"))
    assert "does a stream store 's', and is JetStream enabled?" in str(error)
    future = await js.publish_async("s")
    assert "is JetStream enabled?" in str(await refused(future))


async def test_publishing_through_the_applications_own_request(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    nc = await connect()
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s"])
    plain = type(nc).request

    async def request(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await plain(self, *args, **kwargs)

    monkeypatch.setattr(type(nc), "request", request)
    assert "does a stream store 'x'" in str(await refused(js.publish("x")))
    headers = {"Nats-Expected-Stream": "T"}
    assert "published to 's'" in str(await refused(js.publish("s", headers=headers)))


async def test_consumers(js_server: Server, connect: Connect) -> None:
    js = (await connect()).jetstream()
    await js.add_stream(name="S", subjects=["s"], storage="memory")
    consumer = "consumer 'd' of stream 'S'"
    sub = await js.subscribe("s", durable="d")
    bound = await refused(js.subscribe("s", durable="d"))
    assert str(bound).endswith(f"consumer is already bound to a subscription ({consumer})")
    await sub.unsubscribe()
    await js.delete_consumer("S", "d")

    pull = await js.pull_subscribe("s", "d")
    await js.delete_consumer("S", "d")
    for batch in (1, 3):
        gone = await refused(pull.fetch(batch, timeout=5))
        assert isinstance(gone, errors.ServiceUnavailableError)
        assert str(gone) == (
            f"nats: ServiceUnavailableError: code=503 ({consumer}: nobody answers: is the stream "
            "or consumer there, and JetStream enabled?)"
        )


async def test_timeouts(js_server: Server, connect: Connect) -> None:
    nc = await connect()
    js = nc.jetstream(timeout=0.05)
    begun = nc.jetstream()
    await begun.add_stream(name="S", subjects=["s"], storage="memory", allow_direct=True)
    kv, indirect = [
        await nc.jetstream().create_key_value(bucket=bucket, direct=direct)
        for bucket, direct in (("B", True), ("C", False))
    ]
    pull = await begun.pull_subscribe("s", "d")
    answers: dict[str, Callable[[], Awaitable[object]]] = {
        "no answer to $JS.API.STREAM.INFO.S": lambda: js.stream_info("S"),
        "no answer to $JS.API.CONSUMER.INFO.S.d": lambda: js.consumer_info("S", "d"),
        "no answer to $JS.API.STREAM.MSG.GET.S": lambda: js.get_msg("S", 1),
        "no answer to $JS.API.DIRECT.GET.S": lambda: js.get_msg("S", 1, direct=True),
        "no answer to $JS.API.DIRECT.GET.KV_B.$KV.B.k": lambda: kv.get("k"),
        "no answer to $JS.API.STREAM.MSG.GET.KV_C": lambda: indirect.get("k"),
        "published to 's'": lambda: js.publish("s"),
        "consumer 'd' of stream 'S'": lambda: pull.fetch(timeout=0.05),
    }
    with pytest.raises(errors.FetchTimeoutError) as caught:
        await pull.fetch(timeout=1, heartbeat=0.1)
    assert str(caught.value) == "nats: fetch timeout (consumer 'd' of stream 'S')"
    kv._js._timeout = indirect._js._timeout = 0.05
    js_server.pause()
    try:
        for details, ask in answers.items():
            with pytest.raises(core_errors.TimeoutError) as late:
                await within(ask())
            assert type(late.value) is core_errors.TimeoutError
            assert str(late.value) == f"nats: timeout ({details})"
    finally:
        js_server.resume()
    assert str(core_errors.TimeoutError()) == "nats: timeout"


# Key-value


@pytest.mark.parametrize("direct", [True, False])
async def test_keys(js_server: Server, connect: Connect, direct: bool) -> None:
    js = (await connect()).jetstream()
    kv = await js.create_key_value(bucket="B", history=3, direct=direct)
    key = "key 'k' of bucket 'B'"

    assert str(await refused(kv.keys())) == "nats: no keys found (bucket 'B')"
    assert str(await refused(kv.history("k"))) == f"nats: no keys found ({key})"
    error: Any = await refused(kv.get("k"))
    assert str(error) == f"nats: key not found ({key})"
    assert (error.bucket, error.key, error.code) == ("B", "k", 404)
    error = await refused(kv.get("k", revision=7))
    assert str(error) == f"nats: key not found ({key}, revision 7)"

    await kv.put("k", b"1")
    error = await refused(kv.update("k", b"2", last=9))
    assert str(error) == f"nats: wrong last sequence: 1 ({key}, expected revision 9)"
    assert (error.bucket, error.key, error.code) == ("B", "k", 400)
    assert isinstance(error.__cause__, errors.BadRequestError)
    assert (await refused(kv.delete("k", last=9))).details == "published to '$KV.B.k'"

    await kv.delete("k")
    error = await refused(kv.get("k"))
    assert str(error) == f"nats: key not found ({key}, DEL marker)"
    error = await refused(kv.keys(filters=["x"]))
    assert str(error) == "nats: no keys found (bucket 'B', filters ['x'])"
    error = await refused(kv.get("a b"))
    assert str(error) == "nats: JetStream.InvalidKeyError ('a b')"


async def test_creating_a_key_that_has_a_value(js_server: Server, connect: Connect) -> None:
    js = (await connect()).jetstream()
    kv = await js.create_key_value(bucket="B")
    await kv.put("other", b"")
    revision = await kv.create("k", b"1")
    error: Any = await refused(kv.create("k", b"2"))
    assert isinstance(error, errors.KeyExistsError)
    assert isinstance(error, errors.KeyWrongLastSequenceError)
    assert (error.bucket, error.key, error.revision) == ("B", "k", revision)
    assert str(error) == (
        f"nats: wrong last sequence: {revision} (key 'k' of bucket 'B', which has a value, "
        f"revision {revision}: update() replaces it)"
    )
    # An update that comes too late isn't one.
    error = await refused(kv.update("k", b"2", last=0))
    assert type(error) is errors.KeyWrongLastSequenceError


# Object store


async def test_objects(js_server: Server, connect: Connect) -> None:
    js = (await connect()).jetstream()
    obs = await js.create_object_store("B")
    thing = "object 'o' of store 'B'"
    not_found = f"nats: ObjectNotFoundError: code=404 ({thing}"
    assert str(await refused(obs.get("o"))) == f"{not_found})"
    assert str(await refused(obs.delete("o"))) == f"{not_found})"
    empty = "nats: NotFoundError: code=404 (no objects in store 'B')"
    assert str(await refused(obs.list())) == empty
    deleted = await refused(obs.update_meta("o", api.ObjectMeta(name="o")))
    assert str(deleted) == f"nats: ObjectDeletedError: code=404 ({thing})"

    await obs.put("o", b"content")
    renamed = await refused(obs.update_meta("o", api.ObjectMeta(name="p")))
    assert str(renamed) == (
        f"nats: JetStream.ObjectAlreadyExists ({thing} can't be renamed to 'p')"
    )
    chunks = obs._chunk_subject((await obs.get_info("o")).nuid)
    await js.purge_stream("OBJ_B", subject=chunks)
    mismatch = await refused(obs.get("o"))
    assert str(mismatch) == f"nats: JetStream.DigestMismatchError ({thing}, 0 of 7 bytes)"
    await obs.delete("o")
    assert str(await refused(obs.get("o"))) == f"{not_found}, which was deleted)"

    link = api.ObjectMetaOptions(link=api.ObjectLink("C"))
    await obs.put("o", b"", api.ObjectMeta(options=link))
    is_store = await refused(obs.get("o"))
    assert str(is_store) == f"nats: JetStream.LinkIsABucketError ({thing} links to store 'C')"
