"""Objects of the JetStream API that are copied and pickled."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest
from nats.js import api
from support.js_responses import STREAM


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol(protocol: int) -> None:
    info = api.StreamInfo.from_response(STREAM)
    for made in (info, api.StreamConfig(name="S")):
        same = pickle.loads(pickle.dumps(made, protocol))
        assert same == made
        assert vars(same) == vars(made)
        assert same.as_dict() == made.as_dict()


def test_classes_with_slots_beside_it() -> None:
    class Slotted:
        __slots__ = ("note",)

    @dataclasses.dataclass
    class Both(api.Placement, Slotted):
        pass

    both: Any = Both.from_response({"cluster": "c", "unknown": 1})
    both.note = "n"
    assert (both.as_dict(), both.note) == ({"cluster": "c", "unknown": 1}, "n")
    assert vars(both) == {"cluster": "c", "tags": None}
    for copied in (copy.copy(both), copy.deepcopy(both)):
        assert (copied, copied.note, copied.as_dict()) == (both, "n", both.as_dict())


def test_a_copy_shares_no_unknown_fields() -> None:
    config = api.StreamConfig.from_response({"name": "S", "unknown": {"list": [1]}})
    copies: list[Any] = [config.evolve(), copy.deepcopy(config), pickle.loads(pickle.dumps(config))]
    for copied in copies:
        copied.as_dict()["unknown"]["list"].append(2)
    assert config.as_dict()["unknown"] == {"list": [1]}


def test_pickles_and_copies() -> None:
    info = api.StreamInfo.from_response(STREAM)
    pickled = pickle.dumps(info)
    assert b"nats.js.api" in pickled
    assert b"_api" not in pickled
    assert pickle.loads(pickled) == info
    assert copy.deepcopy(info) == info
    assert pickle.loads(pickle.dumps(api.AckPolicy.ALL)) is api.AckPolicy.ALL
