"""The server pool: parsing URLs, discovery, and what is known of each server."""

from __future__ import annotations

from dataclasses import dataclass
from random import shuffle
from typing import Any, Callable, Dict, List, Optional, Tuple, Union
from urllib.parse import ParseResult, urlparse

from nats import errors
from nats._semver import parse_semver

_DEFAULT_PORT = 4222
_SCHEMES = ("nats://", "tls://", "ws://", "wss://")
WEBSOCKET = ("ws", "wss")
# Servers that the pool takes from INFO. A cluster has tens; INFO after INFO with new ones would
# fill the memory.
_MAX_DISCOVERED = 1000


class _Url(ParseResult):
    """A URL that keeps its user and password, or token, to itself when it is shown."""

    def __repr__(self) -> str:
        _, at, address = self.netloc.rpartition("@")
        netloc = f"***@{address}" if at else self.netloc
        return repr(ParseResult(*self._replace(netloc=netloc)))


@dataclass
class Server:
    """A server of the pool, as shown to applications."""

    uri: ParseResult
    reconnects: int = 0


@dataclass
class Srv:
    """A server of the pool and the state of attempts to reach it."""

    uri: ParseResult
    reconnects: int = 0
    last_attempt: Optional[float] = None
    did_connect: bool = False
    discovered: bool = False
    tls_name: Optional[str] = None
    server_version: Optional[str] = None
    # Known to speak TLS: nothing is said to it in the clear any more.
    secured: bool = False
    # The URL whose user and password, or token, are good for this server as well.
    credentials_of: Optional[ParseResult] = None


ReconnectToServerHandler = Callable[[List[Server], Dict[str, Any]], Tuple[Optional[Server], float]]


class ServerVersion:
    """A server's version in its parts; parsed when a part is first asked for."""

    def __init__(self, server_version: str) -> None:
        self._server_version = server_version
        self._parts: Optional[Dict[str, str]] = None

    def parse_version(self) -> None:
        """:raises ValueError: the text isn't a semantic version."""
        self._parts = parse_semver(self._server_version)
        if self._parts is None:
            raise ValueError(f"{self._server_version} is not a valid Semantic Version")

    def _part(self, name: str) -> str:
        if self._parts is None:
            self.parse_version()
        assert self._parts is not None
        return self._parts[name]

    @property
    def major(self) -> int:
        """The 2 of ``2.11.4``."""
        return int(self._part("major"))

    @property
    def minor(self) -> int:
        """The 11 of ``2.11.4``."""
        return int(self._part("minor"))

    @property
    def patch(self) -> int:
        """The 4 of ``2.11.4``."""
        return int(self._part("patch"))

    @property
    def prerelease(self) -> str:
        """For example ``RC.1``; empty for a release."""
        return self._part("prerelease")

    @property
    def build(self) -> str:
        """Build metadata, empty if there is none."""
        return self._part("build")

    @property
    def dev(self) -> str:
        """Pre-release and build metadata in one."""
        return (
            "+".join(filter(None, [self.prerelease, self.build])) if self.build else self.prerelease
        )

    def __repr__(self) -> str:
        return f"<nats server v{self._server_version}>"


def parse_server_uri(connect_url: str) -> ParseResult:
    """Parses a server URL; scheme and port may be left out.

    :raises nats.errors.Error: it isn't a URL, or has no host.
    """
    try:
        if any(scheme in connect_url for scheme in _SCHEMES):
            normalized = connect_url
        elif ":" in connect_url:
            normalized = f"nats://{connect_url}"
        else:
            normalized = f"nats://{connect_url}:{_DEFAULT_PORT}"
        uri = _Url(*urlparse(normalized))
        if uri.port is None and uri.scheme not in WEBSOCKET:
            uri = uri._replace(netloc=f"{uri.netloc.rstrip(':')}:{_DEFAULT_PORT}")
    except ValueError:
        raise errors.Error("nats: invalid connect url option") from None
    if uri.hostname is None or uri.hostname == "none":
        raise errors.Error("nats: invalid hostname in connect url")
    return uri


def address_of(uri: ParseResult) -> str:
    """Host, port and path as the URL has them, without user and password."""
    return uri.netloc.rpartition("@")[2] + uri.path.rstrip("/")


def parse_server_option(servers: Union[str, List[str]]) -> List[Srv]:
    """The pool that the ``servers`` option describes."""
    if isinstance(servers, str):
        return [Srv(parse_server_uri(servers))]
    if not isinstance(servers, list):
        raise errors.Error("nats: invalid connect url option")
    pool = [Srv(parse_server_uri(server)) for server in servers]
    websocket = [server.uri.scheme in WEBSOCKET for server in pool]
    if any(websocket) and not all(websocket):
        raise errors.Error("nats: mixing of websocket and non websocket URLs is not allowed")
    if any(server.uri.scheme not in ("nats", "tls", *WEBSOCKET) for server in pool):
        raise errors.Error("nats: mixing of websocket and non websocket URLs is not allowed")
    return pool


def discovered_servers(
    info: Dict[str, Any],
    current: Srv,
    pool: List[Srv],
    *,
    randomize: bool,
) -> List[Srv]:
    """Servers that an INFO names and the pool doesn't have yet."""
    scheme = current.uri.scheme if current.uri.scheme in ("tls", *WEBSOCKET) else "nats"
    known = {server.uri.netloc for server in pool}
    name = current.tls_name or current.uri.hostname
    is_secure = current.secured or scheme == "wss"
    credentials_of = current.uri if current.uri.username is not None else current.credentials_of
    room = _MAX_DISCOVERED - sum(server.discovered for server in pool)
    found: List[Srv] = []
    urls: list[str] = info.get("connect_urls") or []
    for url in urls:
        if len(found) >= room:
            break
        try:
            uri = urlparse(f"{scheme}://{url}")
        except ValueError:
            continue
        server = Srv(
            uri,
            discovered=True,
            secured=current.secured,
            credentials_of=credentials_of,
        )
        if server.uri.netloc in known:
            continue
        known.add(server.uri.netloc)
        # A certificate names the host that was asked for, not the address behind it.
        if is_secure and _is_ip(server.uri.hostname) and not _is_ip(name):
            server.tls_name = name
        found.append(server)
    if randomize:
        shuffle(found)
    return found


def _is_ip(host: Optional[str]) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(host or "")
    except ValueError:
        return False
    return True
