"""URLs: what is fetched, what counts as the same, what looks like a trap."""

import hashlib
import re
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit, urlunsplit

MAX_LENGTH: Final = 2048
"""Longest URL that is followed, in characters."""
_MAX_SEGMENTS: Final = 16
_MAX_REPEATS: Final = 3
_MAX_PARAMETERS: Final = 12

_TRACKING: Final = re.compile(
    r"^(?:utm_\w+|fbclid|gclid|gclsrc|dclid|gbraid|wbraid|msclkid|yclid|ysclid|twclid|ttclid|igshid|mc_[ce]id"
    r"|_ga|_gl|_hsenc|_hsmi|hsctatracking|vero_id|wickedid|oly_(?:anon|enc)_id|mkt_tok|spm|scm|rb_clickid"
    r"|s_cid|ref_src|ref_url|from_spmid|share_source|share_medium|vd_source)$",
    re.IGNORECASE,
)
"""Parameters that only say where a reader came from; no medium depends on them."""
_SESSION: Final = re.compile(
    r"^(?:phpsessid|jsessionid|aspsessionid\w*|asp\.net_sessionid|cfid|cftoken|sid|sess|session|session_?id"
    r"|zenid|oscsid)$",
    re.IGNORECASE,
)
_SESSION_PATH: Final = re.compile(r";jsessionid=[^/?#]*|/\(S\([0-9a-z]{16,}\)\)", re.IGNORECASE)
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")
_NUMBER: Final = re.compile(r"\d+")
_HEX: Final = re.compile(r"(?<![0-9a-z])[0-9a-f]{8,}(?![0-9a-z])", re.IGNORECASE)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SAFE_PATH: Final = "!$%&'()*+,-./:;=@_~"
_SAFE_QUERY: Final = "!$%&'()*+,-./:;=?@[]_~|"


def absolute(reference: str, base: str = "") -> str | None:
    """Return the URL that a page means by a reference, ready to be fetched; None: nothing to fetch.

    Only http and https count. The fragment goes, spaces and line breaks around and control characters inside
    too; names in other scripts are written in Punycode, other characters percent-encoded as UTF-8. A URL with
    a user's name in it is none of ours.
    """
    text = reference.strip().replace("\t", "").replace("\n", "").replace("\r", "")
    if not text or text.startswith("#"):
        return None
    try:
        joined = urljoin(base, text) if base else text
        parts = urlsplit(joined)
        host = parts.hostname or ""
        port = parts.port
    except ValueError:
        return None
    if parts.scheme.lower() not in _DEFAULT_PORTS or not host or parts.username is not None:
        return None
    name = _ascii_host(host)
    if name is None:
        return None
    if port is not None and port != _DEFAULT_PORTS[parts.scheme]:
        name = f"{name}:{port}"
    path = quote(parts.path or "/", safe=_SAFE_PATH)
    query = quote(parts.query, safe=_SAFE_QUERY)
    url = urlunsplit((parts.scheme, name, path, query, ""))
    return url if len(url) <= MAX_LENGTH and not _CONTROL.search(url) else None


@lru_cache(maxsize=4096)
def _ascii_host(host: str) -> str | None:
    """Write a host's name as it is resolved; None: no name."""
    host = host.rstrip(".").lower()
    if ":" in host:
        return f"[{host}]"
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    return host if re.fullmatch(r"[a-z0-9_.-]{1,253}", host) else None


def canonical(url: str) -> str:
    """Return what URLs of the same page or medium have in common, of a URL as `absolute` returns it.

    Tracking parameters and session ids go, parameters are sorted, escapes spelt alike. It is compared, never
    fetched: some servers mind the order of parameters.
    """
    parts = urlsplit(url)
    path = _SESSION_PATH.sub("", parts.path)
    path = re.sub(r"%[0-9a-fA-F]{2}", lambda match: _escape(match[0]), path)
    query = parts.query
    if query:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=None, errors="surrogateescape")
        kept = sorted(
            (name, value) for name, value in pairs if not _TRACKING.match(name) and not _SESSION.match(name)
        )
        query = urlencode(kept, errors="surrogateescape") if kept else ""
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def _escape(text: str) -> str:
    character = chr(int(text[1:], 16))
    return character if character.isascii() and (character.isalnum() or character in "-._~") else text.upper()


def key_of(url: str) -> bytes:
    """Return 16 bytes that stand for all URLs with the same canonical form; http and https are the same."""
    form = canonical(url)
    return hashlib.blake2b(form.partition("://")[2].encode("utf-8", "replace"), digest_size=16).digest()


def host_of(url: str) -> str:
    """Return the host and port of a URL, in lower case: what politeness and budgets count by."""
    return urlsplit(url).netloc.lower()


def shape_of(url: str) -> str:
    """Return a URL's shape: numbers and hexadecimal ids as ``0``, parameters by name.

    All days of a calendar have one shape, and so have all pictures of a gallery.
    """
    parts = urlsplit(url)
    path = _NUMBER.sub("0", _HEX.sub("0", _SESSION_PATH.sub("", parts.path)))
    names = sorted({name for name, _ in parse_qsl(parts.query, keep_blank_values=True)})
    return f"{parts.netloc}{path}?{'&'.join(names)}"


def trap(url: str) -> str:
    """Say why a URL looks like the product of a loop; empty: it does not."""
    parts = urlsplit(url)
    segments = [segment for segment in parts.path.split("/") if segment]
    if len(segments) > _MAX_SEGMENTS:
        return f"its path has more than {_MAX_SEGMENTS} parts"
    if segments and max(map(segments.count, set(segments))) > _MAX_REPEATS:
        return f"a part of its path comes more than {_MAX_REPEATS} times"
    if parts.query.count("&") >= _MAX_PARAMETERS:
        return f"it has more than {_MAX_PARAMETERS} parameters"
    return ""


def within(url: str, place: str) -> bool:
    """Whether a URL lies at or below a place.

    Args:
        url: As `absolute` returns it.
        place: A host such as ``example.org``, which means its subdomains too, or a URL's beginning with or
            without its scheme, such as ``https://video.example/channel/42``, which ends at a ``/``, ``?`` or
            the end.
    """
    place = place.strip()
    if "://" in place:
        place = place.partition("://")[2]
    host, slash, path = place.partition("/")
    host = host.lower().rstrip(".")
    netloc = host_of(url)
    name = netloc if ":" in host else netloc.partition(":")[0]
    if not host or (name != host and not name.endswith(f".{host}")):
        return False
    if not slash or not path:
        return True
    rest = url.partition("://")[2].partition("/")[2]
    return rest.startswith(path) and (
        len(rest) == len(path) or path.endswith("/") or rest[len(path)] in "/?#&"
    )


def shown(url: str, limit: int = 300) -> str:
    """Return a hostile URL or name as it may stand in a log or on a terminal: printable ASCII."""
    text = url.encode("ascii", "backslashreplace").decode()
    text = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}" if match[0] != " " else " ", text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
