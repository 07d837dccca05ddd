"""Packages that require nats-py, with their real requirements: `make test-install`."""

from __future__ import annotations

import pytest
from fastnats.embedded import Server
from support.environments import ROOT, Environment, pip

pytestmark = [pytest.mark.tools, pytest.mark.timeout(600)]

FASTSTREAM = """
import asyncio, sys, nats
from faststream import FastStream
from faststream.nats import JStream, NatsBroker
from nats.aio import client
assert hasattr(nats, "__version__"), nats.__file__

broker = NatsBroker(sys.argv[1])
app = FastStream(broker)
stream = JStream(name="orders", subjects=["orders.*"])
said = []

@broker.subscriber("greet")
async def greet(name: str) -> str:
    return "hello " + name

@broker.subscriber("orders.*", stream=stream, durable="worker", pull_sub=True)
async def worker(body: str) -> None:
    said.append(body)
    app.exit()

@app.after_startup
async def begin() -> None:
    reply = await broker.request("world", "greet", timeout=10)
    said.append(await reply.decode())
    await broker.publish("one pen", "orders.new", stream="orders")

asyncio.run(asyncio.wait_for(app.run(), 30))
print(said)
"""

TASKIQ = """
import asyncio, sys, nats
from taskiq_nats import NATSKeyValueScheduleSource, NATSObjectStoreResultBackend, NatsBroker
from taskiq.receiver import Receiver
assert hasattr(nats, "__version__"), nats.__file__

backend = NATSObjectStoreResultBackend(servers=sys.argv[1])
broker = NatsBroker(sys.argv[1], queue="tasks").with_result_backend(backend)

@broker.task
async def add(one: int, other: int) -> int:
    return one + other

async def main() -> None:
    broker.is_worker_process = True
    await broker.startup()
    finish = asyncio.Event()
    working = asyncio.create_task(Receiver(broker, run_startup=False).listen(finish))
    await asyncio.sleep(0.5)
    task = await add.kiq(1, 2)
    print((await task.wait_result(timeout=20)).return_value)
    finish.set()
    await working
    await broker.shutdown()

asyncio.run(asyncio.wait_for(main(), 40))
"""

TELEMETRY = """
import asyncio, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otel_instrumentation_nats import NatsInstrumentor

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
NatsInstrumentor().instrument()

import nats
assert hasattr(nats, "__version__"), nats.__file__

async def main() -> None:
    nc = await nats.connect(sys.argv[1])
    async def answer(msg):
        await msg.respond(msg.data)
    await nc.subscribe("greet", cb=answer)
    await nc.request("greet", b"hello", timeout=10)
    await nc.publish("orders", b"one pen")
    await nc.drain()

asyncio.run(asyncio.wait_for(main(), 30))
names = {span.name for span in exporter.get_finished_spans()}
print(sorted(names & {"greet request", "greet receive", "orders send"}))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """fastnats first, then the packages with nats-py, which they require."""
    made = Environment(tmp_path_factory.mktemp("dependants") / "venv")
    made.install_fastnats()
    locked = ROOT / "requirements" / "dependants.txt"
    pip("install", "-q", "--require-hashes", "-r", locked, python=made.python)
    return made


@pytest.mark.parametrize(
    ("script", "output"),
    [
        pytest.param(FASTSTREAM, "['hello world', 'one pen']", id="faststream"),
        pytest.param(TASKIQ, "3", id="taskiq-nats"),
        pytest.param(TELEMETRY, "['greet receive', 'greet request', 'orders send']", id="otel"),
    ],
)
def test_on_a_server(environment: Environment, script: str, output: str) -> None:
    with Server(jetstream=True) as server:
        done = environment.run("-W", "ignore", "-c", script, server.url)
    assert (done.status, done.output.strip().split("\n")[-1]) == (0, output), str(done)


def test_pip_finds_nothing_broken(environment: Environment) -> None:
    assert "No broken requirements" in pip("check", python=environment.python)
