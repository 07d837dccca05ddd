"""A service with two endpoints: requests, errors, discovery and statistics."""

import asyncio
import json

import nats
from nats.embedded import Server
from nats.micro import Request, add_service
from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER, ServiceError


async def add(request: Request) -> None:
    await request.respond(str(sum(json.loads(request.data))).encode())


async def divide(request: Request) -> None:
    first, second = json.loads(request.data)
    if second == 0:
        raise ServiceError("400", "division by zero")
    await request.respond(str(first / second).encode())


async def main(url: str) -> None:
    async with (
        await nats.connect(url) as nc,
        await add_service(nc, name="calculator", version="1.0.0") as service,
    ):
        group = service.add_group(name="calc")
        await group.add_endpoint(name="add", handler=add)
        await group.add_endpoint(name="divide", handler=divide, metadata={"exact": "no"})

        reply = await nc.request("calc.add", b"[1, 2, 3]", timeout=1)
        print("sum:      ", reply.data.decode())

        reply = await nc.request("calc.divide", b"[1, 0]", timeout=1)
        told = reply.headers or {}
        print("error:    ", told[ERROR_CODE_HEADER], told[ERROR_HEADER])

        found = json.loads((await nc.request("$SRV.INFO.calculator", timeout=1)).data)
        print("endpoints:", [endpoint["subject"] for endpoint in found["endpoints"]])

        for stats in service.stats().endpoints:
            print(f"{stats.name}: requests {stats.num_requests}, errors {stats.num_errors}")


if __name__ == "__main__":
    with Server() as server:
        asyncio.run(main(server.url))
