"""The values that a bucket or store has when a watch begins: counted, then waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Optional

from nats import errors
from nats._core import InitialValues
from nats.aio._waits import wait_for
from nats.js import api
from nats.js.errors import APIError, NotFoundError

from ._delivery import MAX_DOUBTS, Delivery
from ._push_state import push_state_of

if TYPE_CHECKING:
    from .client import JetStreamContext

# Seconds until the server is asked again if it didn't answer, or there was no connection.
_PAUSE = 0.1
# More than a stream can have.
_UNKNOWN = (1 << 64) - 1


async def count_initial_values(
    js: JetStreamContext, stream: str, subject: str, every_revision: bool, whole: bool
) -> InitialValues:
    """Counts what a stream has at a subject.

    :param every_revision: count messages, not the different subjects that they have.
    :param whole: the subject covers the whole stream, unless that has sources.
    :raises nats.js.errors.APIError: the server refuses to tell.
    :raises nats.errors.TimeoutError: the server doesn't answer.
    """
    state = None
    if whole:
        # If the stream can't have anything else, the server needn't list the subjects.
        info = await js.stream_info(stream)
        config = info.config
        if config.subjects == [subject] and not config.sources and not config.mirror:
            state = info.state
    if state is None:
        state, subjects = await _subjects_at(js, stream, subject)
        expected = sum(subjects.values()) if every_revision else len(subjects)
    elif every_revision:
        expected = state.messages
    else:
        expected = state._rest().get("num_subjects", _UNKNOWN if state.messages else 0)
    return InitialValues(state.last_seq, expected, every_revision)


async def _subjects_at(
    js: JetStreamContext, stream: str, subject: str
) -> tuple[api.StreamState, dict[str, int]]:
    """Returns the state of a stream, and the number of messages of each of its subjects that a
    consumer of ``subject`` delivers."""
    info = await js.stream_info(stream, subjects_filter=subject)
    subjects = info.state.subjects or {}
    if any("*" in token and token != "*" for token in subject.split(".")):
        # Such a token is no wildcard, but the server's list of subjects treats it as one.
        subjects = {name: count for name, count in subjects.items() if _covers(subject, name)}
    return info.state, subjects


def _covers(pattern: str, subject: str) -> bool:
    """Whether a pattern, a subject that may have wildcards, covers a subject."""
    tokens = subject.split(".")
    wanted = pattern.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(tokens) <= len(wanted):
            return False
        del tokens[len(wanted) :]
    return len(tokens) == len(wanted) and all(
        want in ("*", token) for want, token in zip(wanted, tokens, strict=True)
    )


class InitialDelivery(Delivery):
    """Waits for the initial values. If their number doesn't prove that they are complete, the
    subjects of the stream do."""

    def __init__(
        self,
        sub: JetStreamContext.PushSubscription,
        initial: InitialValues,
        max_doubts: Optional[int] = MAX_DOUBTS,
    ) -> None:
        super().__init__(sub, max_doubts)
        self._initial = initial

    async def wait(self, timeout: Optional[float] = None) -> bool:
        """As :meth:`Delivery.wait`, but also ``True`` when nothing is in doubt any more."""
        if not self._initial.is_in_doubt or self._sub._core.stopped:
            return await super().wait(timeout)
        await wait_for(self._settle(), timeout)
        return True

    async def _settle(self) -> None:
        core = self._sub._core
        while self._initial.is_in_doubt and not core.stopped:
            if not self._sub._conn.is_connected or not await self._look():
                await asyncio.sleep(_PAUSE)

    async def _is_exhausted(self) -> bool:
        if not await self._look() or self._initial.is_complete:
            return self._initial.is_complete
        # Not delivered yet, or lost on the way: a new consumer will tell.
        self._doubt(self._is_missing())
        if self._sub._core.pending_msgs == 0:
            await self.renew()
        return False

    async def _look(self) -> bool:
        """Asks what the stream has; returns ``False`` if the server doesn't tell."""
        sub = self._sub
        try:
            subject = push_state_of(sub).filter_subject
            state, subjects = await _subjects_at(sub._js, sub._stream, subject)
        except NotFoundError:
            raise
        except (APIError, errors.TimeoutError) as error:
            self._doubt(error)
            return False
        except errors.Error:
            # The client closes, and with it the subscription.
            if sub._core.stopped:
                return False
            raise
        self._initial.expect(subjects, state.last_seq)
        return True
