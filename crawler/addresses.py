"""Which addresses may be connected to: public ones, and those that were allowed by name.

Names are judged by what they resolve to, never by how they are written: ``http://2130706433/`` and
``http://0x7f.1/`` are refused since the resolver makes 127.0.0.1 of them.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final, TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA: Final = frozenset(
    map(ipaddress.ip_address, ("169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254"))
)
"""Where clouds hand out secrets to whoever asks from inside; Azure's lies among public addresses."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address."""
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
"""RFC 4291, section 2.5.5.1: as above, deprecated."""


def read_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return networks from addresses and CIDR ranges.

    Raises:
        ValueError: If one is neither.
    """
    return tuple(ipaddress.ip_network(text.strip()) for text in texts if text.strip())


def refusal(address: str, allowed: Iterable[Network] = ()) -> str:
    """Say why an address must not be connected to; empty: it may be.

    Args:
        address: IPv4 or IPv6, as a resolver or a socket names it; a zone after ``%`` is left out.
        allowed: Networks that may be connected to whatever they are.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"{address!r} is no address"
    faces = (parsed, *_embedded(parsed))
    if any(face in network for network in allowed for face in faces if face.version == network.version):
        return ""
    for face in faces:
        if face in _METADATA:
            return f"{address} hands out a cloud's secrets"
        if face.is_multicast:
            return f"{address} is a multicast address"
        if not face.is_global:
            return f"{address} is not a public address"
    return ""


def _embedded(address: Address) -> tuple[ipaddress.IPv4Address, ...]:
    """Return the IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    found = [address.ipv4_mapped, address.sixtofour]
    if address.teredo is not None:
        found.extend(address.teredo)
    if address in _NAT64 or address in _COMPATIBLE:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(part for part in found if part is not None)
