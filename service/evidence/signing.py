"""The key that signs bundles of evidence."""

import os
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from copyhound.bundle import key_id, pem_of
from service.errors import StartupError

FILE: Final = "evidence-key.pem"
"""Name of the key's file in the data folder."""


class Signer:
    """Signs with one Ed25519 key (RFC 8032)."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        """Use a key."""
        self._key = key
        self.public_key = pem_of(key.public_key())
        """The public key, PEM."""
        self.key_id = key_id(key.public_key())
        """Its name: see `copyhound.bundle.key_id`."""

    @classmethod
    def open(cls, data: Path, given: Path | None) -> Self:
        """Use the key in a file that the operator names, or that of the data folder, made at the first start.

        Args:
            data: The data folder.
            given: PEM file of a private key, PKCS #8, without a password; None: that of the data folder.

        Raises:
            StartupError: If it cannot be read, or made.
        """
        path = given or data / FILE
        try:
            if given is None and not path.exists():
                _make(path)
            content = path.read_bytes()
        except OSError as error:
            raise StartupError(f"evidence_key: cannot read {path}: {error.strerror}") from error
        try:
            key = load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise StartupError(f"evidence_key: {path} is no private key in PEM without a password") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise StartupError(f"evidence_key: {path} is no Ed25519 key; `openssl genpkey` makes one")
        return cls(key)

    def sign(self, message: bytes) -> bytes:
        """The signature of a message, 64 bytes."""
        return self._key.sign(message)


def _make(path: Path) -> None:
    """Make a key that nobody but this user can read; whole, or not at all."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    aside = path.with_suffix(".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
