"""An authority for tests, what it signs, and server configurations."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from nats.embedded import Server

from support.handlers import echo

# What a certificate for a server of this machine is for.
HOSTS = ("localhost", "127.0.0.1", "::1")

# Connect options for a single attempt.
ONCE: dict[str, Any] = {"allow_reconnect": False, "connect_timeout": 5}


@dataclass(frozen=True)
class Certificates:
    """Files of one authority and of what it has signed."""

    directory: Path
    authority: trustme.CA

    @property
    def bundle(self) -> Path:
        """The authority's certificate."""
        return self.directory / "ca.pem"

    def issue(self, name: str, *identities: str) -> tuple[Path, Path]:
        """Sign a certificate; its file (chain included) and that of its key."""
        certificate = self.authority.issue_cert(*identities)
        chain, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        chain.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
        key.write_bytes(certificate.private_key_pem.bytes())
        return chain, key

    def server_config(self, *identities: str, options: str = "", name: str = "server") -> str:
        """A server configuration with TLS."""
        chain, key = self.issue(name, *identities)
        return f"""
tls {{
  cert_file: "{chain}"
  key_file: "{key}"
  ca_file: "{self.bundle}"
  timeout: 5
  {options}
}}
"""

    def server_context(self, *identities: str) -> ssl.SSLContext:
        """A context for servers that are part of a test."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*identities).configure_cert(context)
        return context

    def context(self) -> ssl.SSLContext:
        """A client's context that trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.bundle))


def make_certificates(directory: Path) -> Certificates:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    return Certificates(directory, authority)


def local(server: Server, scheme: str = "nats") -> str:
    """The server's URL with a host name instead of its address."""
    return f"{scheme}://localhost:{server.port}"


async def round_trip(nc: Any, payload: bytes = b"secret") -> None:
    """Serve ``echo`` and ask for it."""

    await nc.subscribe("echo", cb=echo)
    reply = await nc.request("echo", payload, timeout=5)
    assert reply.data == payload
