"""The pages as a running server serves them."""

import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from service.app import running
from service.errors import StartupError
from service.sandbox import ForkServer
from service.settings import Settings
from service.web.server import Certificates, WebServer
from tests.pages import pages_in


async def test_a_server_serves_pages_beside_the_api(settings: Settings, forks: ForkServer) -> None:
    with_pages = settings.model_copy(update={"web": "127.0.0.1:0"})
    async with running(with_pages, forks=forks) as service:
        assert service.web_port not in (None, service.port)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{service.web_port}") as client:
            asked = await client.get("/sign-in")
            assert "Go in without a key" in asked.text
            assert "server" not in asked.headers
            style = asked.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
            assert "immutable" in (await client.get(style)).headers["cache-control"]
            assert (await client.get("/sign-in", headers={"host": "evil.example"})).status_code == 421


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"web": "0.0.0.0:0", "allow_anonymous": False}, "need TLS"),
        ({"web": "0.0.0.0:0"}, "loopback addresses alone"),
        ({"web": "127.0.0.1:http"}, "web must be HOST:PORT"),
        ({"web": "127.0.0.1:0", "web_origin": "hound.example"}, "web_origin must be such as"),
        ({"web": "127.0.0.1:0", "web_origin": "https://hound.example/path"}, "web_origin must be such as"),
    ],
)
async def test_unsafe_addresses_are_refused(settings: Settings, wrong: dict[str, object], said: str) -> None:
    with pytest.raises(StartupError, match=said):
        async with running(settings.model_copy(update=wrong)):
            pass


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """A certificate for localhost, signed by itself."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return Certificates(certificate, key, None)


async def test_pages_over_tls(tmp_path: Path, certificates: Certificates) -> None:
    trusted = ssl.create_default_context(cafile=str(certificates.certificate))
    async with pages_in(tmp_path, secure=True) as pages:
        server = WebServer(pages.app, certificates)
        port = server.bind("127.0.0.1:0")
        await server.start()
        try:
            async with httpx.AsyncClient(verify=trusted) as client:
                answer = await client.get(f"https://localhost:{port}/sign-in")
            assert answer.status_code == 200
            assert "Secure" in answer.headers["set-cookie"]
        finally:
            await server.stop()


async def test_addresses_and_certificates_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    async with pages_in(tmp_path) as pages:
        one, two = WebServer(pages.app, None), WebServer(pages.app, None)
        port = one.bind("127.0.0.1:0")
        with pytest.raises(StartupError, match=f"cannot serve pages on 127.0.0.1:{port}"):
            two.bind(f"127.0.0.1:{port}")
        await one.stop()
        missing = tmp_path / "missing.pem"
        with pytest.raises(StartupError, match="web: cannot use the certificates"):
            WebServer(pages.app, Certificates(missing, missing, None))
