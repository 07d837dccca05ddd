"""Exception names of nats-py 0.x and 1.x. Each derives from its successor in `nats.errors`.

.. deprecated:: 2.0.0
   Use `nats.errors`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from nats import errors

if TYPE_CHECKING:
    import nats
else:
    # `from nats.aio.errors import *` gives it, as nats-py's does.
    nats = sys.modules["nats"]

__all__ = [
    "ErrAuthorization",
    "ErrBadSubject",
    "ErrBadSubscription",
    "ErrBadTimeout",
    "ErrConnectionClosed",
    "ErrConnectionDraining",
    "ErrConnectionReconnecting",
    "ErrDrainTimeout",
    "ErrInvalidCallbackType",
    "ErrInvalidUserCredentials",
    "ErrJsonParse",
    "ErrMaxPayload",
    "ErrNoServers",
    "ErrSecureConnFailed",
    "ErrSecureConnRequired",
    "ErrSecureConnWanted",
    "ErrSlowConsumer",
    "ErrStaleConnection",
    "ErrTimeout",
    "NatsError",
    "nats",
]


class NatsError(errors.Error):
    """Use :class:`nats.errors.Error`."""


class ErrConnectionClosed(errors.ConnectionClosedError):
    """Use :class:`nats.errors.ConnectionClosedError`."""


class ErrDrainTimeout(errors.DrainTimeoutError):
    """Use :class:`nats.errors.DrainTimeoutError`."""


class ErrInvalidUserCredentials(errors.InvalidUserCredentialsError):
    """Use :class:`nats.errors.InvalidUserCredentialsError`."""


class ErrInvalidCallbackType(errors.InvalidCallbackTypeError):
    """Use :class:`nats.errors.InvalidCallbackTypeError`."""


class ErrConnectionReconnecting(errors.ConnectionReconnectingError):
    """Use :class:`nats.errors.ConnectionReconnectingError`."""


class ErrConnectionDraining(errors.ConnectionDrainingError):
    """Use :class:`nats.errors.ConnectionDrainingError`."""


class ErrMaxPayload(errors.MaxPayloadError):
    """Use :class:`nats.errors.MaxPayloadError`."""


class ErrStaleConnection(errors.StaleConnectionError):
    """Use :class:`nats.errors.StaleConnectionError`."""


class ErrJsonParse(errors.JsonParseError):
    """Use :class:`nats.errors.JsonParseError`."""


class ErrSecureConnRequired(errors.SecureConnRequiredError):
    """Use :class:`nats.errors.SecureConnRequiredError`."""


class ErrSecureConnWanted(errors.SecureConnWantedError):
    """Use :class:`nats.errors.SecureConnWantedError`."""


class ErrSecureConnFailed(errors.SecureConnFailedError):
    """Use :class:`nats.errors.SecureConnFailedError`."""


class ErrBadSubscription(errors.BadSubscriptionError):
    """Use :class:`nats.errors.BadSubscriptionError`."""


class ErrBadSubject(errors.BadSubjectError):
    """Use :class:`nats.errors.BadSubjectError`."""


class ErrSlowConsumer(errors.SlowConsumerError):
    """Use :class:`nats.errors.SlowConsumerError`."""


class ErrTimeout(errors.TimeoutError):
    """Use :class:`nats.errors.TimeoutError`."""


class ErrBadTimeout(errors.BadTimeoutError):
    """Use :class:`nats.errors.BadTimeoutError`."""


class ErrAuthorization(errors.AuthorizationError):
    """Use :class:`nats.errors.AuthorizationError`."""


class ErrNoServers(errors.NoServersError):
    """Use :class:`nats.errors.NoServersError`."""
