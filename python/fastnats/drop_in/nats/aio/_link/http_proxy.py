"""HTTP proxies for WebSocket connections: which one, and the way through it (CONNECT)."""

from __future__ import annotations

import asyncio
import base64
import errno
from typing import Optional, cast
from urllib.parse import ParseResult, unquote, urlparse

from nats._texts import reason_of

from .._callbacks import logger
from .._servers import address_of

# More than any answer to CONNECT needs.
_LONGEST_ANSWER = 64 * 1024
_DEFAULT_PORT = 80


def proxy_of(uri: ParseResult, port: int, given: Optional[str]) -> Optional[ParseResult]:
    """The proxy for a connection, if it takes one.

    :param given: the option ``ws_proxy``: a URL, empty for none, `None` for what the environment
        says (``WS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``; for ``wss`` ``WSS_PROXY``,
        ``HTTPS_PROXY``), but none for this machine: another one is nearly always meant, and
        environments forget `NO_PROXY`.
    :raises ValueError: the URL that is given isn't one of an HTTP proxy.
    """
    if given is not None:
        return parse_proxy(given) if given else None
    # Takes its time, and few clients need it.
    from urllib.request import getproxies, proxy_bypass

    known = getproxies()
    host = uri.hostname or ""
    if _is_loopback(host):
        return None
    names = ("wss", "https", "all") if uri.scheme == "wss" else ("ws", "http", "all")
    url = next((known[name] for name in names if known.get(name)), None)
    if url is None or proxy_bypass(host) or proxy_bypass(f"{host}:{port}"):
        return None
    try:
        return parse_proxy(url)
    except ValueError as error:
        logger.warning("nats: a proxy of the environment isn't used: %s", reason_of(error))
        return None


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".") == "localhost"


def parse_proxy(url: str) -> ParseResult:
    """:raises ValueError: it isn't the URL of an HTTP proxy. It isn't shown, as it may hold a
    password."""
    proxy = urlparse(url if "://" in url else f"http://{url}")
    if proxy.scheme != "http":
        raise ValueError(f"ws_proxy: http:// is supported, {proxy.scheme}:// isn't")
    # A port that is none raises by itself.
    if not proxy.hostname or proxy.port == 0:
        raise ValueError("ws_proxy: the URL names no host")
    return proxy


async def open_tunnel(proxy: ParseResult, host: str, port: int) -> asyncio.Transport:
    """Connects through a proxy; the transport then carries the bytes of host and port.

    :raises OSError: the proxy can't be reached, or refuses; it is named.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Optional[Exception]] = loop.create_future()
    protocol = _Tunnel(_request(proxy, host, port), outcome)
    address = address_of(proxy)
    try:
        transport, _ = await loop.create_connection(
            lambda: protocol, proxy.hostname or "", proxy.port or _DEFAULT_PORT
        )
    except OSError as error:
        raise OSError(error.errno, f"proxy {address}: {error.strerror or error}") from None
    try:
        failure = await outcome
    except BaseException:
        transport.abort()
        raise
    if failure is not None:
        transport.abort()
        raise ConnectionError(f"proxy {address}: {failure}") from None
    return transport


def _request(proxy: ParseResult, host: str, port: int) -> bytes:
    host = f"[{host}]" if ":" in host else host.encode("idna").decode()
    target = f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username is not None:
        user_info = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        credentials = base64.b64encode(user_info.encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {credentials}")
    return "\r\n".join([*lines, "", ""]).encode()


class _Tunnel(asyncio.Protocol):
    """Asks for a tunnel; another protocol takes over when there is one."""

    def __init__(self, request: bytes, outcome: asyncio.Future[Optional[Exception]]) -> None:
        """
        :param outcome: gets `None` when the tunnel is there, or why it isn't. No exception, which
            would be reported if whoever waits is cancelled.
        """
        self._request = request
        self._outcome = outcome
        self._answer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, rest = self._answer.partition(b"\r\n\r\n")
        if not end:
            if len(self._answer) > _LONGEST_ANSWER:
                self._end(ConnectionError("its answer has no end"))
            return
        version, _, status = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        if not version.startswith("HTTP/1."):
            self._end(ConnectionError("it doesn't speak HTTP"))
        elif not status.startswith("2"):
            self._end(ConnectionError(f"it refuses: {status}"))
        elif rest:
            # Whoever is behind it waits for us to begin.
            self._end(ConnectionError("it sends more than an answer"))
        else:
            self._end(None)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._end(exc or ConnectionResetError(errno.ECONNRESET, "it has closed the connection"))

    def _end(self, failure: Optional[Exception]) -> None:
        if not self._outcome.done():
            self._outcome.set_result(failure)
