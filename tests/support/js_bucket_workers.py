"""Workers that use key-value buckets and object stores, see ``js_workers``."""

from __future__ import annotations

from typing import Any

from nats.js import api
from nats.js.errors import KeyNotFoundError, NoKeysError

from support.js_workers import ELECTION, FETCH_TIMEOUT, Worker


class Keeper(Worker):
    """Puts values under new keys, and gets them."""

    def __init__(self, name: str, kv: Any) -> None:
        super().__init__(name)
        self.kv = kv
        self.sent = 0
        self.acked: dict[str, tuple[int, bytes]] = {}
        """Revision and value by key."""

    async def step(self) -> None:
        self.sent += 1
        key, value = f"{self.name}.{self.sent}", b"value %d" % self.sent
        revision = await self.attempt(self.kv.put(key, value))
        if revision is None:
            return
        self.acked[key] = (revision, value)
        entry = await self.attempt(self.get(key))
        if entry is not None:
            assert (entry.key, entry.revision, entry.value) == (key, revision, value)
            self.done += 1

    async def get(self, key: str) -> Any:
        try:
            return await self.kv.get(key)
        except KeyNotFoundError:
            # With direct access any replica answers, and one may not have it yet.
            if not self.kv._direct:
                raise
            return None


class Watcher(Worker):
    """Watches all keys of a bucket."""

    def __init__(self, name: str, kv: Any) -> None:
        super().__init__(name)
        self.kv = kv
        self.marks = 0
        self.got: list[tuple[str, int, bytes]] = []
        """Key, revision and value of each entry."""

    async def start(self) -> None:
        self.watcher = await self.kv.watchall()

    async def step(self) -> None:
        entry = await self.attempt(self.updates(), FETCH_TIMEOUT)
        if entry is not None:
            self.got.append((entry.key, entry.revision, entry.value))
            self.done += 1

    async def updates(self) -> Any:
        """The next entry, with the mark counted."""
        while True:
            entry = await self.watcher.updates(timeout=FETCH_TIMEOUT)
            if entry is not None:
                return entry
            self.marks += 1

    async def end(self) -> None:
        await self.attempt(self.watcher.stop())


class Lister(Worker):
    """Asks for all keys of a bucket."""

    pause = 0.1

    def __init__(self, name: str, kv: Any) -> None:
        super().__init__(name)
        self.kv = kv
        self.keys: list[str] = []

    async def step(self) -> None:
        try:
            keys = await self.attempt(self.kv.keys(), ELECTION)
        except NoKeysError:
            keys = []
        if keys is not None:
            assert len(set(keys)) == len(keys)
            self.keys = keys
            self.done += 1


class Storer(Worker):
    """Puts objects of several chunks, and gets them."""

    pause = 0.1

    def __init__(self, name: str, store: Any) -> None:
        super().__init__(name)
        self.store = store
        self.sent = 0
        self.acked: dict[str, bytes] = {}

    async def step(self) -> None:
        self.sent += 1
        # New names and old ones.
        name = f"{self.name}.{self.sent % 20}"
        content = b"%d " % self.sent * 20_000
        meta = api.ObjectMeta(options=api.ObjectMetaOptions(max_chunk_size=30_000))
        # A put is some calls one after the other, and a get waits for what has been found.
        limit = ELECTION
        if await self.attempt(self.store.put(name, content, meta), limit) is None:
            # It may have been stored or not.
            self.acked.pop(name, None)
            return
        self.acked[name] = content
        result = await self.attempt(self.store.get(name), limit)
        if result is not None:
            assert result.data == content
            self.done += 1


class Loader(Worker):
    """Gets an object of many chunks over and over."""

    content = bytes(range(256)) * 4 * 1024

    def __init__(self, name: str, store: Any) -> None:
        super().__init__(name)
        self.store = store

    async def start(self) -> None:
        meta = api.ObjectMeta(options=api.ObjectMetaOptions(max_chunk_size=16 * 1024))
        await self.store.put(self.name, self.content, meta)

    async def step(self) -> None:
        # It goes on where it was as soon as there is a leader again.
        result = await self.attempt(self.store.get(self.name), ELECTION)
        if result is not None:
            assert result.data == self.content
            self.done += 1
