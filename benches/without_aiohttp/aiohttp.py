"""Stands in front of the package that only WebSocket needs: nats-py imports it if it is there."""

raise ImportError("aiohttp is no requirement of nats-py")
