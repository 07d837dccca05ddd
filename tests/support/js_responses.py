"""What a server says of streams, consumers and accounts, with fields unknown to this version."""

from __future__ import annotations

from typing import Any

# What an object of any class has to come through unharmed.
UNKNOWN = {"from_the_future": {"a": [1, {"b": None}]}, "another": None}

STREAM: dict[str, Any] = {
    "config": {
        "name": "ORDERS",
        "subjects": ["orders.>"],
        "retention": "workqueue",
        "max_age": 90_500_000_000,
        "duplicate_window": 120_000_000_000,
        "subject_delete_marker_ttl": 60_000_000_000,
        "placement": {"cluster": "c1", "tags": ["ssd"], **UNKNOWN},
        "mirror": {
            "name": "M",
            "opt_start_time": "2024-02-03T04:05:06.123456789Z",
            "external": {"api": "$JS.d.API", "deliver": "", **UNKNOWN},
            "consumer": {"name": "C", "deliver_subject": "deliver", **UNKNOWN},
            **UNKNOWN,
        },
        "sources": [
            {
                "name": "S",
                "subject_transforms": [{"src": "a", "dest": "b", **UNKNOWN}],
                **UNKNOWN,
            }
        ],
        "republish": {"src": ">", "dest": "copy.>", **UNKNOWN},
        "subject_transform": {"src": "x", "dest": "y", **UNKNOWN},
        "consumer_limits": {"inactive_threshold": 5_000_000_000, **UNKNOWN},
        **UNKNOWN,
    },
    "state": {
        "messages": 1,
        "bytes": 2,
        "first_seq": 3,
        "last_seq": 4,
        "consumer_count": 5,
        "lost": {"msgs": [9], "bytes": 10, **UNKNOWN},
        "subjects": {"orders.eu": 1},
        **UNKNOWN,
    },
    "mirror": {"name": "M", "lag": 1, "active": 2, **UNKNOWN},
    "sources": [{"name": "S", "lag": 3, **UNKNOWN}],
    "cluster": {
        "leader": "n1",
        "leader_since": "2024-01-01T00:00:00Z",
        "replicas": [{"name": "n2", "current": True, "active": 7, **UNKNOWN}],
        **UNKNOWN,
    },
    "created": "2024-01-02T03:04:05.5Z",
    "did_create": True,
    **UNKNOWN,
}

CONSUMER: dict[str, Any] = {
    "stream_name": "ORDERS",
    "name": "worker",
    "created": "2024-01-02T03:04:05.987654321Z",
    "config": {
        "durable_name": "worker",
        "ack_wait": 30_000_000_000,
        "idle_heartbeat": 500_000_000,
        "inactive_threshold": 300_000_000_000,
        "backoff": [1_000_000_000, 2_500_000_000],
        "opt_start_time": "2024-01-01T00:00:00+02:00",
        **UNKNOWN,
    },
    "delivered": {"consumer_seq": 1, "stream_seq": 2, "last_active": "2024-01-01T00:00:00Z"},
    "ack_floor": {"consumer_seq": 0, "stream_seq": 0, **UNKNOWN},
    "cluster": {"leader": "n1", **UNKNOWN},
    "num_pending": 12,
    **UNKNOWN,
}

LIMITS = {
    "max_memory": 1,
    "max_storage": 2,
    "max_streams": 3,
    "max_consumers": 4,
    "max_ack_pending": 5,
    "memory_max_stream_bytes": 6,
    "storage_max_stream_bytes": 7,
    "max_bytes_required": False,
    **UNKNOWN,
}
