"""Looking after push consumers."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Optional, cast

from nats import errors
from nats._texts import with_details
from nats.aio._waits import wait_for
from nats.js import api
from nats.js.errors import (
    APIError,
    ConsumerDeletedError,
    ConsumerNotActiveError,
    ConsumerSequenceMismatchError,
    NotFoundError,
)

from ._consumer import SubscriptionConsumer, create_ephemeral, is_named
from ._names import consumer_text

if TYPE_CHECKING:
    import nats.js.client
    from nats.aio.client import Client as NATS
    from nats.aio.subscription import Subscription

    from ._push import PushSubscription

# Missed heartbeats after which a consumer counts as gone, and checks in the time of one.
_MISSED_HEARTBEATS = 2
_CHECKS = 2
# Seconds until the server is asked for a consumer again, and for its answer; both double each
# time.
_FIRST_PAUSE = 0.1
_FIRST_PATIENCE = 1.0
# The longest pause, for a consumer without heartbeats.
_MAX_PAUSE = 10.0


def push_state_of(psub: PushSubscription) -> PushState:
    """Returns what looks after the consumer of a subscription.

    Programs replace both classes by ones that needn't be subclasses of ours.
    """
    return cast("PushState", psub._sub._observer)


class PushState(SubscriptionConsumer):
    """Keeps a push subscription supplied: watches the heartbeats of its consumer, and replaces an
    ordered consumer that fails.

    The order of messages and flow control are checked where messages arrive, in the core.
    """

    def __init__(
        self,
        js: nats.js.client.JetStreamContext,
        conn: NATS,
        stream: str,
        ordered: Optional[bool],
        psub: PushSubscription,
        sub: Subscription,
        ccreq: api.ConsumerConfig,
    ) -> None:
        super().__init__(js, sub, stream)
        self._conn = conn
        self._ordered = ordered
        self._psub = psub
        self._ccreq = ccreq
        self._hbi = ccreq.idle_heartbeat if ccreq else None
        self._hbtask: Optional[asyncio.Task[None]] = None
        self._recreating: Optional[asyncio.Task[None]] = None
        # A time at which the stream existed; one that was created later is another stream.
        self.stream_seen: Optional[datetime.datetime] = None
        self._is_stream_in_doubt = False
        # Whether the application knows that the consumer is silent.
        self._is_reported = False
        sub._core.track_push(bool(ordered))

    @property
    def filter_subject(self) -> str:
        """The subject that the consumer delivers."""
        return self._ccreq.filter_subject or ">"

    def start(self) -> None:
        """Starts to watch the heartbeats, if the consumer sends any."""
        if self._hbi:
            self._hbtask = asyncio.get_running_loop().create_task(self.activity_check())

    def stop(self) -> None:
        """Ends the watch, and the creation of a consumer."""
        for task in (self._hbtask, self._recreating):
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    async def settle(self) -> None:
        """Waits until a consumer that is being replaced is there."""
        if self._recreating is not None and not self._recreating.done():
            await asyncio.wait([self._recreating])

    def reconnected(self) -> None:
        """Looks after the consumer on a new connection: the server may have lost it, or may be
        another one. An ordered consumer is replaced, any other is looked up."""
        if self._sub._draining or self._sub._closed:
            return
        self._is_reported = False
        if not self._ordered:
            self._work(self._look_for_consumer())
        elif not is_named(self._ccreq):
            self._is_stream_in_doubt = True
            self._work(self._start_over())

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        """Has a task do what the events of the connection must not wait for."""
        if self._recreating is not None:
            self._recreating.cancel()
        self._recreating = asyncio.get_running_loop().create_task(work)

    async def activity_check(self) -> None:
        """Replaces an ordered consumer that misses two heartbeats; looks up any other."""
        assert self._hbi
        silent = 0
        while not self._conn.is_closed and not self._sub._closed:
            await asyncio.sleep(self._hbi / _CHECKS)
            if self._sub._core.take_active():
                silent = 0
                self._is_reported = False
                continue
            silent += 1
            is_working = self._recreating is not None and not self._recreating.done()
            if silent < _MISSED_HEARTBEATS * _CHECKS or is_working or not self._conn.is_connected:
                continue
            silent = 0
            if self._ordered:
                self._is_stream_in_doubt = True
                await self._restart()
            elif not self._is_reported:
                self._work(self._look_for_consumer(is_silent=True))

    async def _look_for_consumer(self, is_silent: bool = False) -> None:
        """Tells the application if the consumer is gone.

        :param is_silent: its heartbeats are missing, which the application is told as well.
        """
        consumer, stream = self._psub._consumer, self._stream
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._js._jsm.consumer_info(stream, consumer)
            except NotFoundError as error:
                gone = ConsumerDeletedError(
                    code=error.code,
                    err_code=error.err_code,
                    description=f"{consumer_text(stream, consumer)} is gone, and delivers "
                    f"nothing more: {error.description}",
                )
                await self._report(gone)
                return
            except (APIError, errors.TimeoutError):
                # Not known yet, for example while there is no leader.
                pass
            except errors.Error:
                # Either it isn't allowed, which has been reported, or the client closes.
                break
            else:
                break
            if is_silent:
                break
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE)
        if is_silent:
            await self._report(
                ConsumerNotActiveError(f"{consumer_text(stream, consumer)}: heartbeats are missing")
            )

    async def _report(self, error: Exception) -> None:
        self._is_reported = True
        if not self._sub._closed:
            await self._conn._fastnats.callbacks.report(error)

    async def process_notice(self, report: Optional[tuple[int, int, Optional[int]]]) -> None:
        """Reacts to deliveries that the core has found missing.

        :param report: ``None`` for a gap in an ordered consumer; else stream, consumer and
            last consumer sequence, which the application is told.
        """
        if report is None:
            await self._restart()
            return
        stream_seq, consumer_seq, last_consumer_seq = report
        await self._conn._fastnats.callbacks.report(
            ConsumerSequenceMismatchError(
                stream_resume_sequence=stream_seq,
                consumer_sequence=consumer_seq,
                last_consumer_sequence=last_consumer_seq,
            )
        )

    async def _restart(self) -> None:
        if not self._sub._draining and not self._sub._closed and not self._conn.is_closed:
            await self.reset_ordered_consumer(self._sub._core.stream_seq + 1)

    async def reset_ordered_consumer(self, sseq: Optional[int]) -> bool:
        """Continues with a new consumer.

        :param sseq: stream sequence that it starts with.
        """
        await self._move(sseq)
        self._work(self.recreate_consumer())
        return True

    async def _start_over(self) -> None:
        await self._move(self._sub._core.stream_seq + 1)
        await self.recreate_consumer()

    async def _move(self, sseq: Optional[int]) -> None:
        """Leaves the consumer and its inbox, and prepares new ones.

        :param sseq: stream sequence that the new consumer starts with.
        """
        session, sub = self._conn._fastnats, self._sub
        session.subscriptions.move(session.native(), sub, self._conn.new_inbox())
        self.remove()

        # A copy: the configuration may be the caller's.
        config = self._ccreq = self._ccreq.evolve(deliver_subject=sub._subject)
        # Before its first message, the consumer still starts where it was asked to.
        if sseq is not None and sseq > 1:
            config.deliver_policy = api.DeliverPolicy.BY_START_SEQUENCE
            config.opt_start_seq = sseq
            config.opt_start_time = None

    async def recreate_consumer(self) -> None:
        """Creates the consumer; tries again until it is there or the connection is lost. Each new
        failure is reported, a repeated one every two heartbeats."""
        pause, patience, reported = _FIRST_PAUSE, _FIRST_PATIENCE, ""
        max_pause = self._hbi * _MISSED_HEARTBEATS if self._hbi else _MAX_PAUSE
        while True:
            try:
                await self._create(min(patience, self._js._timeout))
                return
            except Exception as error:
                if isinstance(error, asyncio.TimeoutError):
                    details = f"no consumer of stream {self._stream!r} has been made"
                    error = with_details(errors.TimeoutError(), details)
                if self._sub._core.stopped:
                    return
                if repr(error) != reported or pause >= max_pause:
                    reported = repr(error)
                    await self._conn._fastnats.callbacks.report(error)
            await asyncio.sleep(min(pause, max_pause))
            if not self._conn.is_connected:
                # The next connection starts over.
                return
            pause, patience = 2 * pause, 2 * patience
            # A consumer that was created while its answer got lost then delivers to nobody.
            await self._move(self._sub._core.stream_seq + 1)

    async def _create(self, timeout: float) -> None:
        if self._is_stream_in_doubt:
            await self._check_stream()
        config = self._ccreq
        if is_named(config):
            info = await self._js._jsm.add_consumer(self._stream, config=config)
        else:
            info = await wait_for(create_ephemeral(self._js, self._stream, config), timeout)
        assert info.name
        self._psub._consumer = info.name
        if not is_named(config):
            self.own(info.name, awaits_acks=False)
        self._is_stream_in_doubt = False

    async def _check_stream(self) -> None:
        """Starts over if the stream has been deleted and created again: the sequence to continue
        from was that of the old one."""
        if self.stream_seen is None:
            return
        try:
            stream = await self._js._jsm.stream_info(self._stream)
        except errors.Error:
            # Perhaps only this isn't allowed, and creating the consumer is.
            return
        if stream.created is None or stream.created <= self.stream_seen:
            return
        self.stream_seen = stream.created
        self._sub._core.forget_stream()
        config = self._ccreq
        # All messages in it are new, wherever the consumer was first asked to start.
        config.deliver_policy = api.DeliverPolicy.ALL
        config.opt_start_seq = config.opt_start_time = None
