"""Object stores that are shared with nats-py."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from nats.embedded import Server
from nats.js import api
from parity.interpreters import environment_of, reference
from support.connecting import Connect
from support.waiting import within

NAMES = {"empty": 0, "small": 10, "a chunk": 128 * 1024, "größe/☃ >": 3_000_001}

READ = """
import asyncio, hashlib, json, sys, nats

async def main(url, names):
    nc = await nats.connect(url)
    obs = await nc.jetstream().object_store("B")
    found = {}
    for name in json.loads(names):
        result = await obs.get(name)
        info = result.info
        digest = hashlib.sha256(result.data).hexdigest()
        found[name] = [len(result.data), digest, info.size, info.chunks, info.description]
    listed = [(info.name, info.deleted) for info in await obs.list()]
    print(json.dumps({"found": found, "listed": listed}))
    await nc.close()

asyncio.run(main(*sys.argv[1:]))
"""

WRITE = """
import asyncio, json, os, sys, nats
from nats.js import api

async def main(url, names, chunk_size):
    nc = await nats.connect(url)
    js = nc.jetstream()
    obs = await js.create_object_store("B", storage="memory")
    contents = {}
    for name, size in json.loads(names).items():
        data = os.urandom(size)
        options = api.ObjectMetaOptions(max_chunk_size=int(chunk_size))
        meta = api.ObjectMeta(description="text", options=options)
        await obs.put(name, data, meta)
        contents[name] = data.hex()
    await obs.put("deleted", b"x")
    await obs.delete("deleted")
    link = api.ObjectMetaOptions(link=api.ObjectLink("B", "small"), max_chunk_size=1)
    await obs.put("link", b"", api.ObjectMeta(options=link))
    print(json.dumps(contents))
    await nc.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def on_nats_py(script: str, *arguments: str) -> Any:
    """Run a script on nats-py and return the JSON that it prints."""
    # Not from a folder with another `nats` in it.
    done = await within(
        asyncio.to_thread(
            subprocess.run,
            [reference(), "-c", script, *arguments],
            env=environment_of(reference()),
            capture_output=True,
            text=True,
            timeout=30,
            cwd=Path(__file__).parent,
        ),
        30,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_nats_py_reads_what_we_write(js_server: Server, connect: Connect) -> None:
    js = (await connect()).jetstream()
    obs = await js.create_object_store("B", storage="memory")
    expected = {}
    for name, size in NAMES.items():
        data = os.urandom(size)
        meta = api.ObjectMeta(description="text")
        info = await obs.put(name, data, meta)
        digest = hashlib.sha256(data).hexdigest()
        expected[name] = [size, digest, size, info.chunks, "text"]
    await obs.put("deleted", b"x")
    await obs.delete("deleted")
    seen = await on_nats_py(READ, js_server.url, json.dumps(list(NAMES)))
    assert seen["found"] == expected
    assert seen["listed"] == [[name, False] for name in NAMES] + [["deleted", True]]


async def test_we_read_what_nats_py_writes(js_server: Server, connect: Connect) -> None:
    contents = await on_nats_py(WRITE, js_server.url, json.dumps(NAMES), "60000")
    obs = await (await connect()).jetstream().object_store("B")
    for name, content in contents.items():
        result = await obs.get(name)
        assert result.data.hex() == content
        assert result.info.size == NAMES[name]
        assert result.info.description == "text"
    assert (await obs.get("link")).data.hex() == contents["small"]
    listed = [(info.name, info.deleted, info.is_link()) for info in await obs.list()]
    expected = [(name, False, False) for name in NAMES]
    assert listed == [*expected, ("deleted", True, False), ("link", False, True)]
