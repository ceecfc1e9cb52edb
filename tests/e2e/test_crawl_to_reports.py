"""The whole way, as a user goes it: import a list, run it, read the reports."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from copyhound import cli
from tests.e2e.pictures import encoded, photograph
from tests.e2e.serving import ServerProcess, serving


@dataclass
class Site:
    """A site with altered copies of registered photographs, and what was asked of it."""

    url: str = ""
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            kind, body = made.files.get(self.path, ("", b""))
            self.send_response(200 if kind else 404)
            self.send_header("Content-Type", kind or "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serving(tmp_path / "hound") as running:
        yield running


def page(title: str, *parts: str) -> tuple[str, bytes]:
    html = f"<!doctype html><title>{title}</title>{''.join(parts)}"
    return "text/html; charset=utf-8", html.encode()


def check_imports(
    command: Callable[..., list[str]], path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Import wrong rows, some of them anyway, and then change that list."""
    path.write_text(f"kind,value\npage,{url}/\npage,httpx://x\nwork,nobody\npages,x\n")
    for options in ((), ("--dry-run",)):
        assert cli.run(["monitor", "import", str(path), "--owner", "studio", *options]) == 1
        said = capsys.readouterr().err
        assert "line 3: place.url: “httpx://x” is no address" in said
        assert "line 4: work: “nobody” is no work of studio" in said
        assert "line 5: kind must be one of page," in said
        assert "0 " in said.splitlines()[-1]
    assert command("monitor", "list", "--json") == []
    assert cli.run(["monitor", "import", str(path), "--owner", "studio", "--partial"]) == 1
    (partial,) = capsys.readouterr().out.splitlines()
    assert f"page         {url}/" in command("monitor", "show", partial)
    path.write_text(f"kind,value\npage,{url}/\npage,{url}/new\n")
    hook = "http://127.0.0.1:9/"
    changes = ("--depth", "4", "--every", "6h", "--webhook", hook)
    command("monitor", "import", str(path), "--list", partial, *changes)
    shown_list = command("monitor", "show", partial)
    assert f"page         {url}/new" in shown_list
    assert "limits       4 links deep, 1,000 pages a run" in shown_list
    waiting = json.loads(command("monitor", "run", partial, "--detach", "--json")[-1])
    assert json.loads(command("monitor", "cancel", waiting["name"], "--json")[-1])["state"] == "cancelled"
    told = "\n".join(command("monitor", "show", partial))
    assert f"webhook      {hook} (events that wait: 1, failed: " in told
    command("monitor", "delete", partial)


def test_from_a_list_to_reports(
    server: ServerProcess,
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    coffee, chelsea = photograph("coffee"), photograph("chelsea")
    site.files = {
        "/robots.txt": ("text/plain", b"User-agent: *\nDisallow: /private/\n"),
        "/": page("Start", '<a href="/films">films</a> <a href="/private/">private</a>'),
        "/films": page("Free films", '<img src="/a.jpg">', '<img data-src="/b.jpg">', '<a href="/two">2</a>'),
        "/two": page(
            "More",
            '<img src="/again.jpg">',
            '<img src="/other.jpg">',
            '<img src="/kept/c.jpg">',
            '<img src="/cut.jpg">',
        ),
        "/private/": page("Private", '<img src="/private/a.jpg">'),
        "/a.jpg": ("image/jpeg", encoded(coffee.resize((300, 200)), 40)),
        "/b.jpg": ("image/jpeg", encoded(chelsea.crop((40, 20, 420, 290)), 60)),
        "/again.jpg": ("image/jpeg", encoded(coffee.resize((300, 200)), 40)),
        "/other.jpg": ("image/jpeg", encoded(photograph("rocket"))),
        "/cut.jpg": ("image/jpeg", b"\xff\xd8\xff" + bytes(200)),
        "/kept/c.jpg": ("image/jpeg", encoded(coffee)),
    }
    works = tmp_path / "works"
    works.mkdir()
    (works / "coffee.jpg").write_bytes(encoded(coffee, 95))
    (works / "cat.jpg").write_bytes(encoded(chelsea, 95))
    rows = tmp_path / "list.yaml"
    rows.write_text(
        f"owner: studio\ntitle: Films\ndepth: 3\nitems:\n- {{kind: page, value: {site.url}/}}\n"
        f"- {{kind: leave_alone, value: {site.url}/kept/}}\n"
    )
    monkeypatch.setenv("COPYHOUND_SERVER", f"127.0.0.1:{server.port}")
    monkeypatch.setenv("COPYHOUND_CRAWLER_ALLOW_ADDRESS", "127.0.0.0/8, ::1")
    monkeypatch.setenv("COPYHOUND_WEBHOOK_SECRET", "a key of signatures")
    monkeypatch.setenv("COPYHOUND_CRAWLER_THROTTLE", "false")
    monkeypatch.setenv("COPYHOUND_CRAWLER_DELAY", "0")

    def command(*arguments: str) -> list[str]:
        assert cli.run(arguments) == 0, capsys.readouterr().err
        return capsys.readouterr().out.splitlines()

    command("register", str(works), "--owner", "studio")
    check_imports(command, tmp_path / "rows.csv", site.url, capsys)
    (name,) = command("monitor", "import", str(rows))
    data = str(tmp_path / "crawler")
    run = json.loads(
        command("monitor", "run", name, "--data", data, "--contact", "me@x.example", "--json")[-1]
    )
    assert run["state"] == "done"
    assert run["progress"]["captures"] >= 3
    (cut,) = command("monitor", "captures", run["name"], "--unreadable", "--json")
    assert json.loads(cut)["media_url"] == f"{site.url}/cut.jpg"
    assert json.loads(cut)["unreadable_reason"].startswith("MEDIA_")
    assert any(f"{site.url}/cut.jpg" in line for line in command("monitor", "captures", run["name"]))

    found = [json.loads(line)["report"] for line in command("reports", "list", "--list", name, "--json")]
    shown = {one["match"]["external_id"]: one for one in found}
    assert sorted(shown) == ["cat.jpg", "coffee.jpg"]
    place = shown["cat.jpg"]["sightings"][0]
    assert (place["page_url"], place["media_url"]) == (f"{site.url}/films", f"{site.url}/b.jpg")
    assert place["page_title"] == "Free films"
    whole = "\n".join(command("reports", "show", shown["coffee.jpg"]["name"]))
    for expected in ("/films", "/a.jpg", "/two", "/again.jpg"):
        assert f"{site.url}{expected}" in whole
    assert shown["coffee.jpg"]["sighting_count"] == 2

    assert not [path for path in site.asked if path.startswith(("/private", "/kept"))]
    assert any(name in line for line in command("monitor", "list"))
    assert f"leave alone  {site.url}/kept/" in command("monitor", "show", name)
    assert command("monitor", "delete", name) == [f"deleted  {name}"]
    assert command("reports", "show", shown["cat.jpg"]["name"])
