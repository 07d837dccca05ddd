"""Proving who one is: a password that is asked for, an NKey, and what a user may not do."""

import asyncio
import tempfile
from pathlib import Path

import nats
from nats.embedded import Server

# A key pair for this demo, as `nk -gen user -pubout` makes it. Keep real seeds to yourself.
SEED = "SUANPY75IDSTFLSHAVVT67ZP3Y5OVLLVSTBHXEZI5N7MQILD65EPFVJWGM"
PUBLIC = "UDCMMTXD246MXTM4JYZMCJKGGH5FILUZCSQFRJ37KYXBOHGKFSTRGDJT"


CONFIG = f"""
authorization {{ users: [
  {{ user: joe, password: "s3cr3t" }}
  {{ nkey: {PUBLIC}, permissions: {{ publish: "open.>", subscribe: "open.>" }} }}
] }}
"""


async def password(server: Server) -> None:
    asked = 0
    reconnected = asyncio.Event()

    def read_password() -> str:
        nonlocal asked
        asked += 1
        return "s3cr3t"  # from a vault, say

    async def on_reconnected() -> None:
        reconnected.set()

    nc = await nats.connect(
        server.url,
        user="joe",
        password=read_password,
        reconnect_time_wait=0.1,
        reconnected_cb=on_reconnected,
    )
    await nc.force_reconnect()
    await asyncio.wait_for(reconnected.wait(), 10)
    print("asked for the password:", asked, "times")
    await nc.close()


async def nkey(server: Server, seed_file: Path) -> None:
    refused = asyncio.Event()

    async def on_error(error: Exception) -> None:
        print("refused:", error)
        refused.set()

    # For operator mode it would be user_credentials="user.creds".
    nc = await nats.connect(server.url, nkeys_seed=str(seed_file), error_cb=on_error)
    sub = await nc.subscribe("open.door")
    await nc.publish("open.door", b"come in")
    print("received:", (await sub.next_msg(timeout=5)).data.decode())
    await nc.publish("closed.door", b"knock")
    await asyncio.wait_for(refused.wait(), 10)
    print("still connected:", nc.is_connected)
    await nc.close()


async def main(server: Server, directory: Path) -> None:
    await password(server)
    seed_file = directory / "user.nk"
    seed_file.write_text(SEED)
    seed_file.chmod(0o600)
    await nkey(server, seed_file)


if __name__ == "__main__":
    with Server(config=CONFIG) as server, tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(server, Path(directory)))
