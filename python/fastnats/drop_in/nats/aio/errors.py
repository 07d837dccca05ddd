"""Exception names of nats-py 0.x and 1.x. Each derives from its successor in `nats.errors`.

.. deprecated:: 2.0.0
   Use `nats.errors`.
"""

from __future__ import annotations

import nats.errors

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


class NatsError(nats.errors.Error):
    """Use :class:`nats.errors.Error`."""


class ErrConnectionClosed(nats.errors.ConnectionClosedError):
    """Use :class:`nats.errors.ConnectionClosedError`."""


class ErrDrainTimeout(nats.errors.DrainTimeoutError):
    """Use :class:`nats.errors.DrainTimeoutError`."""


class ErrInvalidUserCredentials(nats.errors.InvalidUserCredentialsError):
    """Use :class:`nats.errors.InvalidUserCredentialsError`."""


class ErrInvalidCallbackType(nats.errors.InvalidCallbackTypeError):
    """Use :class:`nats.errors.InvalidCallbackTypeError`."""


class ErrConnectionReconnecting(nats.errors.ConnectionReconnectingError):
    """Use :class:`nats.errors.ConnectionReconnectingError`."""


class ErrConnectionDraining(nats.errors.ConnectionDrainingError):
    """Use :class:`nats.errors.ConnectionDrainingError`."""


class ErrMaxPayload(nats.errors.MaxPayloadError):
    """Use :class:`nats.errors.MaxPayloadError`."""


class ErrStaleConnection(nats.errors.StaleConnectionError):
    """Use :class:`nats.errors.StaleConnectionError`."""


class ErrJsonParse(nats.errors.JsonParseError):
    """Use :class:`nats.errors.JsonParseError`."""


class ErrSecureConnRequired(nats.errors.SecureConnRequiredError):
    """Use :class:`nats.errors.SecureConnRequiredError`."""


class ErrSecureConnWanted(nats.errors.SecureConnWantedError):
    """Use :class:`nats.errors.SecureConnWantedError`."""


class ErrSecureConnFailed(nats.errors.SecureConnFailedError):
    """Use :class:`nats.errors.SecureConnFailedError`."""


class ErrBadSubscription(nats.errors.BadSubscriptionError):
    """Use :class:`nats.errors.BadSubscriptionError`."""


class ErrBadSubject(nats.errors.BadSubjectError):
    """Use :class:`nats.errors.BadSubjectError`."""


class ErrSlowConsumer(nats.errors.SlowConsumerError):
    """Use :class:`nats.errors.SlowConsumerError`."""


class ErrTimeout(nats.errors.TimeoutError):
    """Use :class:`nats.errors.TimeoutError`."""


class ErrBadTimeout(nats.errors.BadTimeoutError):
    """Use :class:`nats.errors.BadTimeoutError`."""


class ErrAuthorization(nats.errors.AuthorizationError):
    """Use :class:`nats.errors.AuthorizationError`."""


class ErrNoServers(nats.errors.NoServersError):
    """Use :class:`nats.errors.NoServersError`."""
