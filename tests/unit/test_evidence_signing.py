"""The key that signs evidence is made once, for nobody else to read; time stamps come from an authority."""

import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from copyhound.bundle import key_id, read_key
from copyhound.evidence import check_stamp
from service.errors import StartupError
from service.evidence import Signer, StampAuthority
from service.evidence.signing import FILE
from tests.authority import Authority


def test_key_is_made_once(tmp_path: Path) -> None:
    first, second = Signer.open(tmp_path, None), Signer.open(tmp_path, None)
    assert first.public_key == second.public_key
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    public = read_key(first.public_key.encode())
    assert key_id(public) == first.key_id
    public.verify(second.sign(b"digests"), b"digests")
    with pytest.raises(InvalidSignature):
        public.verify(second.sign(b"digests"), b"others")


def test_key_of_the_operator(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    path = tmp_path / "own.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert Signer.open(tmp_path, path).key_id == key_id(key.public_key())
    assert not (tmp_path / FILE).exists()


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "own.pem"
    with pytest.raises(StartupError, match=r"evidence_key: cannot read .*own\.pem"):
        Signer.open(tmp_path, path)
    other = ec.generate_private_key(ec.SECP256R1())
    for content, reason in (
        (b"nothing", "is no private key in PEM"),
        (
            other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
            "without a password",
        ),
        (other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "is no Ed25519 key"),
    ):
        path.write_bytes(content)
        with pytest.raises(StartupError, match=reason):
            Signer.open(tmp_path, path)
    with pytest.raises(StartupError, match="evidence_key: cannot read"):
        Signer.open(tmp_path / "no folder", None)


@contextmanager
def answering(authority: Authority, *, status: int = 200, broken: bool = False) -> Iterator[str]:
    """An authority that answers over HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/timestamp-query"
            query = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"no answer" if broken else authority.reply(query))

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_time_stamps(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with answering(authority) as url:
        token = StampAuthority(url).stamp(b"digests")
    assert token is not None
    findings: list[str] = []
    assert check_stamp(token, b"digests", [authority.root], findings, [])
    assert not findings
    with answering(authority, status=500) as url:
        assert StampAuthority(url).stamp(b"digests") is None
    with answering(authority, broken=True) as url:
        assert StampAuthority(url).stamp(b"digests") is None
    assert StampAuthority(url).stamp(b"digests") is None  # nobody answers there any more
    with pytest.raises(ValueError, match="must begin with http"):
        StampAuthority("file:///etc/passwd")
