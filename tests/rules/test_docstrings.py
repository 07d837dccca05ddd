"""Docstrings of everything public name parameters, units and errors."""

from __future__ import annotations

from support.documented import Documented, documented
from support.sources import assert_only


def test_everything_public_is_documented() -> None:
    assert_only(
        (f"{each.name}: {gap}" for each in documented() for gap in each.gaps()),
        "undocumented",
        "docstrings have to name each parameter, `seconds` where one is a time, `bytes` where one "
        "is a size, and each exception that the function itself raises; nothing that isn't there",
    )


def test_gaps_are_found() -> None:
    def wait(timeout: float, buffer_size: int, what: str) -> None:
        raise NotImplementedError(what)

    assert list(Documented("wait", wait, "").gaps()) == ["docstring"]
    text = "Waits ``timeout`` for ``buffer_size``.\n\n:param how: …\n:raises nats.errors.Errr: …"
    assert set(Documented("wait", wait, text).gaps()) == {
        "timeout in seconds",
        "buffer_size in bytes",
        "what",
        "NotImplementedError",
        "no parameter how",
        "no error nats.errors.Errr",
    }


def test_the_package_is_seen() -> None:
    names = {each.name for each in documented()}
    assert {"nats.aio.client.Client.publish", "nats.js.kv.KeyValue.get", "nats.connect"} <= names
    assert len(names) > 400
