"""Durations and times of the JetStream API: seconds here, nanoseconds on the server."""

from __future__ import annotations

import datetime
import decimal
import typing
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nats.js import api
from nats.js.api import Base

UTC = datetime.timezone.utc
LIMIT = 2**63 - 1


def to_seconds(nanoseconds: int) -> float:
    resp = {"field": nanoseconds}
    Base._convert_nanoseconds(resp, "field")
    return typing.cast(float, resp["field"])


# Durations


@pytest.mark.parametrize(
    ("seconds", "nanoseconds"),
    [
        (None, 0),
        (0, 0),
        (60, 60_000_000_000),
        (True, 1_000_000_000),
        (0.1, 100_000_000),
        (0.3, 300_000_000),
        (1.5, 1_500_000_000),
        (86400.5, 86_400_500_000_000),
        (-1, -1_000_000_000),
        (-0.5, -500_000_000),
        # Fractions of a nanosecond are cut off.
        (2 / 3, 666_666_666),
        (1e-10, 0),
        # nats-py sends a nanosecond less.
        (4.1, 4_100_000_000),
        (543.761, 543_761_000_000),
        # The 64-bit limit.
        (9e9, 9_000_000_000_000_000_000),
        (9_000_000_000, 9_000_000_000_000_000_000),
        (9_223_372_036, 9_223_372_036_000_000_000),
        (9_223_372_036.0, 9_223_372_036_000_000_000),
        (9_000_000_000.001, 9_000_000_000_001_000_000),
        (decimal.Decimal("0.1"), 100_000_000),
    ],
)
def test_to_nanoseconds(seconds: Any, nanoseconds: int) -> None:
    converted = Base._to_nanoseconds(seconds)
    assert converted == nanoseconds
    assert type(converted) is int


@given(st.integers(-LIMIT // 10**9 + 1, LIMIT // 10**9))
def test_whole_seconds_are_exact(seconds: int) -> None:
    assert Base._to_nanoseconds(seconds) == seconds * 10**9
    assert Base._to_nanoseconds(float(seconds)) == seconds * 10**9
    assert to_seconds(seconds * 10**9) == seconds


@given(st.integers(0, LIMIT // 10**6))
@example(LIMIT // 10**6)
def test_milliseconds_come_back_up_to_the_limit(milliseconds: int) -> None:
    nanoseconds = milliseconds * 10**6
    assert Base._to_nanoseconds(to_seconds(nanoseconds)) == nanoseconds


@given(st.integers(0, 2**52))
def test_nanoseconds_come_back(nanoseconds: int) -> None:
    assert Base._to_nanoseconds(to_seconds(nanoseconds)) == nanoseconds


@given(st.integers(0, LIMIT))
@example(LIMIT)
@example(LIMIT - 1)
def test_what_the_server_sent_is_a_float_that_it_takes_back(nanoseconds: int) -> None:
    seconds = to_seconds(nanoseconds)
    assert type(seconds) is float
    back = Base._to_nanoseconds(seconds)
    assert back <= LIMIT
    # All nanoseconds don't fit in a float: what comes back is within its precision.
    assert abs(back - nanoseconds) <= max(1, nanoseconds >> 52)
    assert to_seconds(back) == seconds


# Sixteen digits at most, which is what a float distinguishes here.
@given(st.decimals(0, 4_000_000, places=9))
def test_decimal_numbers_are_exact(number: decimal.Decimal) -> None:
    assert Base._to_nanoseconds(float(number)) == int(number.scaleb(9))


def test_conversion_ignores_the_decimal_context_of_the_application() -> None:
    with decimal.localcontext(decimal.Context(prec=2)):
        assert Base._to_nanoseconds(123.456789) == 123_456_789_000


def test_a_duration_beyond_the_limit_is_the_servers_to_refuse() -> None:
    assert api.StreamConfig(max_age=1e10).as_dict()["max_age"] == 10**19


@pytest.mark.parametrize(
    ("value", "error"), [(float("inf"), OverflowError), (float("nan"), ValueError)]
)
def test_no_duration(value: float, error: type[Exception]) -> None:
    with pytest.raises(error):
        api.StreamConfig(max_age=value).as_dict()


def test_every_duration_of_a_configuration_is_converted() -> None:
    stream = api.StreamConfig(
        max_age=9e9,
        duplicate_window=1.5,
        subject_delete_marker_ttl=2,
        consumer_limits=api.StreamConsumerLimits(inactive_threshold=3),
    )
    sent = stream.as_dict()
    assert sent["max_age"] == 9 * 10**18
    assert sent["duplicate_window"] == 1_500_000_000
    assert sent["subject_delete_marker_ttl"] == 2_000_000_000
    assert sent["consumer_limits"] == {"inactive_threshold": 3_000_000_000}
    assert api.StreamConfig.from_response(sent) == stream

    consumer = api.ConsumerConfig(
        ack_wait=1, idle_heartbeat=2, inactive_threshold=3, backoff=[0.1, 4]
    )
    sent = consumer.as_dict()
    assert [sent[name] for name in ("ack_wait", "idle_heartbeat", "inactive_threshold")] == [
        1_000_000_000,
        2_000_000_000,
        3_000_000_000,
    ]
    assert sent["backoff"] == [100_000_000, 4_000_000_000]
    assert api.ConsumerConfig.from_response(sent) == consumer

    assert api.KeyValueConfig(bucket="b", ttl=0.5).as_dict()["ttl"] == 500_000_000
    assert api.ObjectStoreConfig(bucket="b", ttl=0.5).as_dict()["ttl"] == 500_000_000


@pytest.mark.parametrize("ttl", [None, 0, -1])
def test_no_subject_delete_marker_ttl(ttl: float | None) -> None:
    assert (
        "subject_delete_marker_ttl" not in api.StreamConfig(subject_delete_marker_ttl=ttl).as_dict()
    )


# Times


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-02-03T04:05:06Z", (2024, 2, 3, 4, 5, 6)),
        ("2024-02-03T04:05:06.1Z", (2024, 2, 3, 4, 5, 6, 100_000)),
        ("2024-02-03T04:05:06.123456789Z", (2024, 2, 3, 4, 5, 6, 123_456)),
        ("2024-02-03T04:05:06.999999999Z", (2024, 2, 3, 4, 5, 6, 999_999)),
        ("2024-02-03T04:05:06+02:00", (2024, 2, 3, 2, 5, 6)),
        ("2024-02-03T04:05:06.5-07:30", (2024, 2, 3, 11, 35, 6, 500_000)),
        ("0001-01-01T00:00:00Z", (1, 1, 1)),
    ],
)
def test_parse_time(text: str, expected: tuple[int, ...]) -> None:
    parsed = Base._parse_utc_iso(text)
    assert parsed == datetime.datetime(*expected, tzinfo=UTC)  # type: ignore[arg-type,misc]
    assert parsed.tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2024-02-03T04:05:61Z", "2024-02-03T04:05:61.5Z"]
)
def test_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"isoformat|second"):
        Base._parse_utc_iso(text)


@pytest.mark.parametrize(
    ("date", "text"),
    [
        (datetime.datetime(2024, 2, 3, 4, 5, 6), "2024-02-03T04:05:06Z"),
        (datetime.datetime(2024, 2, 3, 4, 5, 6, 7, tzinfo=UTC), "2024-02-03T04:05:06.000007Z"),
        (
            datetime.datetime(2024, 2, 3, 4, tzinfo=datetime.timezone(datetime.timedelta(hours=5))),
            "2024-02-02T23:00:00Z",
        ),
        ("2024-02-03T04:05:06.123456789Z", "2024-02-03T04:05:06.123456789Z"),
    ],
)
def test_time_as_text(date: Any, text: str) -> None:
    assert Base._to_utc_iso(date) == text
    assert api.ConsumerConfig(opt_start_time=date).as_dict()["opt_start_time"] == text
    assert api.StreamSource("s", opt_start_time=date).as_dict()["opt_start_time"] == text


@given(st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30)))
def test_times_come_back(date: datetime.datetime) -> None:
    date = date.replace(tzinfo=UTC)
    assert Base._parse_utc_iso(Base._to_utc_iso(date)) == date
