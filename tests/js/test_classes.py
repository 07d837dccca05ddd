"""Where the classes of buckets and stores are, as texts and pickles say it."""

from __future__ import annotations

import pickle

import pytest
from nats.js.kv import KeyValue
from nats.js.object_store import ObjectStore

CLASSES = [
    (KeyValue.Entry, "nats.js.kv", "KeyValue.Entry"),
    (KeyValue.BucketStatus, "nats.js.kv", "KeyValue.BucketStatus"),
    (ObjectStore.ObjectResult, "nats.js.object_store", "ObjectStore.ObjectResult"),
    (ObjectStore.ObjectStoreStatus, "nats.js.object_store", "ObjectStore.ObjectStoreStatus"),
]


@pytest.mark.parametrize(("kind", "module", "name"), CLASSES)
def test_names(kind: type, module: str, name: str) -> None:
    assert (kind.__module__, kind.__qualname__) == (module, name)
    assert pickle.loads(pickle.dumps(kind)) is kind
    with pytest.raises(TypeError, match=f"^{name}.__init__"):
        kind()
