"""An object store: a file goes up and comes down in pieces, with progress."""

import asyncio
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import nats
from nats.embedded import Server
from nats.js.api import ObjectMeta
from nats.js.errors import DigestMismatchError, ObjectNotFoundError


class Progress(io.BufferedIOBase):
    """A file that says how much of it has been read or written."""

    def __init__(self, file: io.BufferedIOBase, what: str, total: int) -> None:
        self._file, self._what, self._total = file, what, total
        self._done = self._shown = 0

    def readinto(self, buffer: Any) -> int:
        return self._advance(self._file.readinto(buffer))

    def write(self, data: Any) -> int:
        return self._advance(self._file.write(data))

    def _advance(self, count: int) -> int:
        self._done += count
        percent = 100 * self._done // self._total
        if percent >= self._shown + 25:
            self._shown = percent - percent % 25
            print(f"{self._what} {self._shown} %")
        return count


async def main(url: str, folder: Path) -> None:
    original, copy = folder / "original", folder / "copy"
    original.write_bytes(os.urandom(20_000_000))
    size = original.stat().st_size

    async with await nats.connect(url) as nc:
        js = nc.jetstream()
        store = await js.create_object_store("files")

        meta = ObjectMeta(description="random numbers")
        with original.open("rb") as file:
            info = await store.put("numbers", Progress(file, "up", size), meta)
        print(f"stored:     {info.size} bytes in {info.chunks} chunks")

        # The digest is checked at the end: what has arrived is what was stored, or an error.
        try:
            with copy.open("wb") as file:
                await store.get("numbers", writeinto=Progress(file, "down", size))
        except DigestMismatchError:
            copy.unlink()
            raise
        print("identical: ", copy.read_bytes() == original.read_bytes())

        await store.put("note", "small objects fit in memory")
        result = await store.get("note")
        print("note:      ", (result.data or b"").decode())

        for info in await store.list():
            print("listed:    ", info.name, info.size)

        await store.delete("note")
        try:
            await store.get("note")
        except ObjectNotFoundError:
            print("deleted:    note")


if __name__ == "__main__":
    with Server(jetstream=True) as server, tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(server.url, Path(folder)))
