"""Real servers that speak WebSocket."""

from __future__ import annotations

from nats.embedded import Server

from support.tls import Certificates

PLAIN = 'websocket { host: "127.0.0.1", port: -1, no_tls: true }'


def secure(certificates: Certificates, *identities: str, port: int = -1, options: str = "") -> str:
    """A server configuration with WebSocket over TLS."""
    chain, key = certificates.issue("server", *identities)
    return f"""
websocket {{
  host: "127.0.0.1"
  port: {port}
  tls {{ cert_file: "{chain}", key_file: "{key}", ca_file: "{certificates.bundle}", {options} }}
}}
"""


def url_of(server: Server, scheme: str = "ws", host: str = "127.0.0.1") -> str:
    """Where the server speaks WebSocket."""
    return f"{scheme}://{host}:{server.listeners['websocket'][0].rpartition(':')[2]}"


def secure_url_of(server: Server, host: str = "localhost") -> str:
    """Where the server speaks WebSocket over TLS, under a name that its certificate may be for."""
    return url_of(server, "wss", host)
