"""URLs: what is fetched, what counts as the same, which look like traps; addresses that are refused."""

import ipaddress

import pytest

from crawler import urls
from crawler.addresses import read_networks, refusal
from crawler.scope import LeaveAlone


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("x.jpg", "https://a.example/b/x.jpg"),
        (" /x y.jpg\n", "https://a.example/x%20y.jpg"),
        ("//CDN.Example:443/x#part", "https://cdn.example/x"),
        ("http://a.example:80", "http://a.example/"),
        ("https://bücher.example/ü?ö=ä", "https://xn--bcher-kva.example/%C3%BC?%C3%B6=%C3%A4"),
        ("?q=1", "https://a.example/b/c?q=1"),
        ("https://a.example./x", "https://a.example/x"),
        ("https://[2001:DB8::1]:8080/x", "https://[2001:db8::1]:8080/x"),
    ],
)
def test_references_become_urls(reference: str, url: str) -> None:
    assert urls.absolute(reference, "https://a.example/b/c") == url


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "#top",
        "javascript:x()",
        "ftp://a.example/x",
        "https://u:p@a.example/",
        "http://[1/",
        "data:,x",
        "https://a.example:99999/",
        "https://a_b c.example/",
        "https://a.example/" + "x" * 3000,
        "file:///etc/passwd",
    ],
)
def test_what_is_never_fetched(reference: str) -> None:
    assert urls.absolute(reference, "https://a.example/b/c") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://a.example/x?b=2&a=1", "https://a.example/x?a=1&b=2"),
        ("https://a.example/x?utm_source=m&fbclid=3", "https://a.example/x"),
        ("https://a.example/x;jsessionid=ABC?PHPSESSID=1", "https://a.example/x"),
        ("https://a.example/%7ex/%2f", "https://a.example/~x/%2F"),
        ("http://a.example/x", "https://a.example/x"),
    ],
)
def test_urls_of_the_same_thing_have_one_key(one: str, other: str) -> None:
    assert urls.key_of(one) == urls.key_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://a.example/x?a=1", "https://a.example/x?a=2"),
        ("https://a.example/x?a=", "https://a.example/x"),
        ("https://a.example/X", "https://a.example/x"),
        ("https://a.example/x/", "https://a.example/x"),
        ("https://a.example:8443/x", "https://a.example/x"),
    ],
)
def test_urls_of_different_things_have_two(one: str, other: str) -> None:
    assert urls.key_of(one) != urls.key_of(other)


def test_shapes_leave_numbers_out() -> None:
    march = urls.shape_of("https://a.example/cal/2031/03?day=7&view=week")
    assert march == urls.shape_of("https://a.example/cal/2044/11?view=x&day=30")
    assert march != urls.shape_of("https://a.example/cal/2031/03?day=7")


@pytest.mark.parametrize(
    ("url", "is_trap"),
    [
        ("https://a.example/" + "a/b/" * 4, True),
        ("https://a.example/" + "/".join(str(n) for n in range(17)), True),
        ("https://a.example/?" + "&".join(f"p{n}=1" for n in range(13)), True),
        ("https://a.example/2026/11/22/a-title/index.html?page=3", False),
    ],
)
def test_traps(url: str, *, is_trap: bool) -> None:
    assert bool(urls.trap(url)) is is_trap


@pytest.mark.parametrize(
    ("url", "place", "inside"),
    [
        ("https://www.a.example/x", "a.example", True),
        ("https://nota.example/x", "a.example", False),
        ("https://v.example/channel/42/videos", "https://v.example/channel/42", True),
        ("https://v.example/channel/421", "https://v.example/channel/42", False),
        ("https://v.example/channel/42?tab=1", "v.example/channel/42", True),
        ("http://127.0.0.1:81/", "127.0.0.1:80", False),
        ("https://a.example/", "", False),
    ],
)
def test_places(url: str, place: str, *, inside: bool) -> None:
    assert urls.within(url, place) is inside
    assert (url in LeaveAlone(["other.example", place])) is inside


def test_hostile_names_are_escaped() -> None:
    assert urls.shown("x\x1b[31m\n\u202ey") == "x\\x1b[31m\\x0a\\u202ey"
    assert len(urls.shown("x" * 1000)) == 300


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "168.63.129.16",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104  nothing listens here
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "::127.0.0.1",
        "192.0.2.1",
        "fd00:ec2::254",
        "name.example",
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert refusal(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_public_addresses_are_not(address: str) -> None:
    assert refusal(address) == ""


def test_allowed_networks_are_not_refused() -> None:
    allowed = read_networks(["127.0.0.0/8", "::1"])
    assert refusal("127.1.2.3", allowed) == ""
    assert refusal("::ffff:127.0.0.1", allowed) == ""
    assert refusal("::1", allowed) == ""
    assert refusal("10.0.0.1", allowed)
    assert read_networks(["10.0.0.0/8", ""]) == (ipaddress.ip_network("10.0.0.0/8"),)
