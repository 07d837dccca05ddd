"""Ed25519 by the library at hand: cryptography, or PyNaCl where nats-py is installed."""

from __future__ import annotations

try:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
except ModuleNotFoundError:
    from nacl.signing import SigningKey

    class PrivateKey:
        """A key made of 32 secret bytes."""

        def __init__(self, secret: bytes) -> None:
            self._key = SigningKey(secret)

        @property
        def public(self) -> bytes:
            """The 32 bytes of the public key."""
            return bytes(self._key.verify_key)

        def sign(self, data: bytes) -> bytes:
            """The raw signature."""
            return bytes(self._key.sign(data).signature)

else:

    class PrivateKey:  # type: ignore[no-redef]
        """A key made of 32 secret bytes."""

        def __init__(self, secret: bytes) -> None:
            self._key = Ed25519PrivateKey.from_private_bytes(secret)

        @property
        def public(self) -> bytes:
            """The 32 bytes of the public key."""
            return self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

        def sign(self, data: bytes) -> bytes:
            """The raw signature."""
            return self._key.sign(data)
