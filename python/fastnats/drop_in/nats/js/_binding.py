"""Whether a consumer that exists fits a subscription, and creating one that doesn't exist."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Optional

from nats._texts import with_details
from nats.errors import TimeoutError
from nats.js import api
from nats.js.errors import APIError, Error, NotFoundError

from ._error_codes import CONSUMER_EXISTS, CONSUMER_NAME_EXISTS
from ._names import consumer_text

if TYPE_CHECKING:
    from .manager import JetStreamManager

# Somebody else has just taken the name.
_TAKEN = (CONSUMER_NAME_EXISTS, CONSUMER_EXISTS)
# Seconds between looks for a consumer whose name is taken and which isn't there yet.
_PAUSE = 0.05
# Seconds until a question that nobody answers is asked again, at first; then twice as many.
_FIRST_PATIENCE = 1.0

# Fields in which a consumer that exists has to fit what a caller asks for, as in nats.go.
_BINDING_FIELDS = (
    "durable_name",
    "description",
    "deliver_policy",
    "opt_start_seq",
    "opt_start_time",
    "ack_policy",
    "ack_wait",
    "max_deliver",
    "backoff",
    "replay_policy",
    "rate_limit_bps",
    "sample_freq",
    "max_waiting",
    "max_ack_pending",
    "flow_control",
    "idle_heartbeat",
    "headers_only",
    "inactive_threshold",
    "num_replicas",
    "mem_storage",
)
_DEFAULTS = api.ConsumerConfig()


async def find_or_create(
    jsm: JetStreamManager, stream: str, name: str, config: api.ConsumerConfig
) -> tuple[api.ConsumerInfo, bool]:
    """Returns the consumer of a name, and whether it was there before. Others may be creating it at
    the same moment.

    :param config: what a new one is to be like.
    :raises nats.js.errors.APIError: as :meth:`JetStreamManager.add_consumer`.
    """
    try:
        return await _look_for(jsm, stream, name), True
    except NotFoundError:
        pass
    try:
        # Never an update: it would take the consumer away from those who have just subscribed.
        return await jsm._create_consumer(stream, config, action="create"), False
    except APIError as error:
        if error.err_code not in _TAKEN:
            raise
    deadline = asyncio.get_running_loop().time() + jsm._timeout
    while True:
        try:
            return await _look_for(jsm, stream, name), True
        except NotFoundError:
            if asyncio.get_running_loop().time() >= deadline:
                raise
        await asyncio.sleep(_PAUSE)


async def _look_for(jsm: JetStreamManager, stream: str, name: str) -> api.ConsumerInfo:
    """Asks for a consumer, again and again within the context's time: in a cluster nobody answers
    while one that is being created has no leader."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + jsm._timeout
    patience = _FIRST_PATIENCE
    while True:
        remaining = deadline - loop.time()
        try:
            return await jsm.consumer_info(stream, name, min(patience, remaining))
        except TimeoutError:
            if patience >= remaining:
                raise
        patience *= 2


def check_binding(info: api.ConsumerInfo, subject: str, wanted: api.ConsumerConfig) -> None:
    """Checks that a consumer that exists is what is asked for.

    :param subject: the subject to subscribe to; empty for any.
    :param wanted: what else the consumer has to be like.
    :raises nats.js.errors.Error: it isn't.
    """
    there = info.config
    if wanted.filter_subjects:
        _expect(info, "filter_subjects", sorted(wanted.filter_subjects), sorted(_filters(there)))
    else:
        subject = wanted.filter_subject or subject
        if subject and there.filter_subject and subject != there.filter_subject:
            raise Error(
                f"subject {subject!r} does not match {_text(info)}, which filters "
                f"{there.filter_subject!r}"
            )
    for field in _BINDING_FIELDS:
        value = getattr(wanted, field)
        # A default can't be told from a field that was left alone.
        if not value or value == getattr(_DEFAULTS, field):
            continue
        if field == "opt_start_time":
            _expect(info, field, _instant(value), _instant(there.opt_start_time))
        # With a backoff, the server sets `ack_wait` to the first of it.
        elif field != "ack_wait" or not wanted.backoff:
            _expect(info, field, value, getattr(there, field))


def _instant(time: Any) -> Any:
    """Returns a time as the server has it: without a time zone, or as text, it is in UTC."""
    base = api.ConsumerConfig
    return time and base._parse_utc_iso(base._to_utc_iso(time))


def _filters(config: api.ConsumerConfig) -> list[str]:
    if config.filter_subjects:
        return config.filter_subjects
    return [config.filter_subject] if config.filter_subject else []


def _text(info: api.ConsumerInfo) -> str:
    return consumer_text(info.stream_name, info.name)


def _expect(info: api.ConsumerInfo, field: str, wanted: Any, there: Any) -> None:
    if wanted != there:
        raise Error(
            f"configuration requests {field} to be {wanted!r}, but it is {there!r} of {_text(info)}"
        )


def check_push(info: api.ConsumerInfo, queue: Optional[str]) -> None:
    """Checks that a push subscription may use a consumer that exists.

    :param queue: queue group of the subscription, if any.
    :raises nats.js.errors.Error: it may not.
    """
    group = info.config.deliver_group
    refusal = ""
    if not group:
        if queue:
            refusal = "cannot create a queue subscription for a consumer without a deliver group"
        elif info.push_bound:
            refusal = "consumer is already bound to a subscription"
    elif not queue:
        refusal = f"cannot create a subscription for a consumer with a deliver group {group}"
    elif queue != group:
        refusal = (
            f"cannot create a queue subscription {queue} for a consumer "
            f"with a deliver group {group}"
        )
    if refusal:
        raise with_details(Error(refusal), _text(info))


def check_pull(info: api.ConsumerInfo) -> None:
    """Checks that a consumer that exists can be pulled from.

    :raises nats.js.errors.Error: it can't.
    """
    if info.config.deliver_subject:
        raise Error(f"cannot pull from {_text(info)}: it pushes its messages; use subscribe()")
