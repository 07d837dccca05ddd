"""Proving who one is: a password that changes, an NKey, and what a user may not do."""

import asyncio
import tempfile
from pathlib import Path

import nats
from nats.embedded import Server

# A key pair for this demo, as `nk -gen user -pubout` makes it. Keep real seeds to yourself.
SEED = "SUANPY75IDSTFLSHAVVT67ZP3Y5OVLLVSTBHXEZI5N7MQILD65EPFVJWGM"
PUBLIC = "UDCMMTXD246MXTM4JYZMCJKGGH5FILUZCSQFRJ37KYXBOHGKFSTRGDJT"


def config(password: str) -> str:
    return f"""
    authorization {{ users: [
      {{ user: joe, password: "{password}" }}
      {{ nkey: {PUBLIC}, permissions: {{ publish: "open.>", subscribe: "open.>" }} }}
    ] }}
    """


async def changing_password(server: Server) -> None:
    password = "first"
    reconnected = asyncio.Event()

    async def on_reconnected() -> None:
        reconnected.set()

    async def on_error(error: Exception) -> None:
        pass

    nc = await nats.connect(
        server.url,
        user="joe",
        password=lambda: password,  # asked for each connection
        reconnect_time_wait=0.1,
        reconnected_cb=on_reconnected,
        error_cb=on_error,
    )
    password = "second"
    await asyncio.to_thread(server.reload, config(password))
    await asyncio.wait_for(reconnected.wait(), 10)
    print("reconnected with another password:", nc.is_connected)
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
    await changing_password(server)
    seed_file = directory / "user.nk"
    seed_file.write_text(SEED)
    seed_file.chmod(0o600)
    await nkey(server, seed_file)


if __name__ == "__main__":
    with Server(config=config("first")) as server, tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(server, Path(directory)))
