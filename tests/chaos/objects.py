"""The operations of a chaos run on an object store.

Contents tell which write they come from, so that a read shows not only that it is whole.
"""

from __future__ import annotations

import base64
import hashlib
import io
import random
from typing import Any

from chaos.site import JS_TIMEOUT, Peer, Site
from nats.js import api
from nats.js.errors import DigestMismatchError, ObjectNotFoundError

NAMES = 8
CHUNK = 1024
# Nothing, part of a chunk, whole chunks, and more than may be unacknowledged at a time.
SIZES = (0, 100, CHUNK, 4 * CHUNK, 20 * CHUNK + 1, 100 * CHUNK)
# A put looks for an older object, waits for chunks, and cleans up.
PUT_TIMEOUT = 6 * JS_TIMEOUT
# A cancelled put cleans up as well; one that has its chunks together finishes.
PUT_GRACE = 10.0
# A get asks up to five times, after a second of silence each, what has become of its consumer.
GET_TIMEOUT = 5 * (1.0 + JS_TIMEOUT) + 2 * JS_TIMEOUT
GET_GRACE = 10.0


def content_of(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


def _store(site: Site, peer: Peer) -> Any:
    return site.stores[site.peers.index(peer)]


async def put_object(site: Site, peer: Peer, choose: random.Random) -> None:
    """What was put is there from then on, whole, until something else is."""
    name, number, size = f"object{choose.randrange(NAMES)}", site.unique(), choose.choice(SIZES)
    content = content_of(number, size)
    data: Any = io.BytesIO(content) if choose.random() < 0.3 else content
    meta = api.ObjectMeta(
        description=str(number), options=api.ObjectMetaOptions(max_chunk_size=CHUNK)
    )
    write = site.objects.begin(name, number, size)
    call = _store(site, peer).put(name, data, meta)
    info: Any = await site.call("obs.put", call, PUT_TIMEOUT, PUT_GRACE)
    if info is not None:
        site.objects.acknowledged(write)
        if (info.size, info.digest) != (size, digest_of(content)):
            site.book.broke("torn_objects", f"put of {name} returned {info}")


async def delete_object(site: Site, peer: Peer, choose: random.Random) -> None:
    names = site.objects.names
    if not names:
        return
    name = choose.choice(names)
    start = site.objects.now()
    write = site.objects.begin(name, None)

    async def delete() -> bool:
        try:
            await _store(site, peer).delete(name)
        except ObjectNotFoundError:
            site.objects.withdrawn(write)
            site.objects.found(name, start, None, 0)
            return False
        return True

    if await site.call("obs.delete", delete(), 3 * JS_TIMEOUT, PUT_GRACE):
        site.objects.acknowledged(write)


async def get_object(site: Site, peer: Peer, choose: random.Random) -> None:
    names = site.objects.names
    if not names:
        return
    file = io.BytesIO() if choose.random() < 0.3 else None
    call = inspect_object(site, _store(site, peer), choose.choice(names), file)
    await site.call("obs.get", call, GET_TIMEOUT, GET_GRACE)


async def inspect_object(site: Site, store: Any, name: str, file: io.BytesIO | None = None) -> bool:
    """Compare an object with what was written; raises if there is no answer."""
    start = site.objects.now()
    try:
        result = await store.get(name, file)
    except ObjectNotFoundError:
        site.objects.found(name, start, None, 0)
        return True
    except DigestMismatchError:
        site.objects.broken(name, start)
        return True
    info = result.info
    data = result.data if file is None else file.getvalue()
    number = int(info.description)
    whole = data == content_of(number, info.size) and info.digest == digest_of(data)
    if not whole:
        site.book.broke("torn_objects", f"{name}: {len(data)} bytes came as {info}")
    site.objects.found(name, start, number, info.size)
    site.book.made["objects_read"] += 1
    return True


def digest_of(content: bytes) -> str:
    return "SHA-256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
