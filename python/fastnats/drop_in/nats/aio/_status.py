"""The states of a client, with nats-py's numbers. The core knows them by these as well."""

from __future__ import annotations

DISCONNECTED, CONNECTED, CLOSED, RECONNECTING, CONNECTING, DRAINING_SUBS, DRAINING_PUBS = range(7)

IN_SERVICE = (CONNECTED, DRAINING_SUBS, DRAINING_PUBS)
"""States in which there is a connection that the server has accepted."""
