"""Which addresses a node API may have.

The bot carries bearer tokens to these URLs, so a slip of the pen must not send one to a stranger, nor to a cloud's
metadata service, whatever the operator's ranges say.
"""

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data", "metadata.azure.internal"})
_METADATA = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",
        "fe80::/10",
        "fd00:ec2::254/128",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
    )
)
_SOCKET = re.compile(r"unix:/[^\s?#]{1,100}", re.ASCII)
_NUMBER_LIKE = re.compile(r"(?:0x[0-9a-f]*|\d+)", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)


def url_problem(url: str, networks: Iterable[str]) -> str | None:
    """Return what is wrong with a node's URL and what to do, or None; host names are judged when they resolve."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "is not a URL: write http://address:port or https://address:port"
    if parts.scheme == "unix":
        return None if _SOCKET.fullmatch(url) else "is not a socket's path: write unix:/run/haproxy/admin.sock"
    if parts.scheme not in {"http", "https", "tcp"} or not host or re.search(r"[\s\\]", url):
        return "is not a node's URL: write http://address:port or https://address:port"
    if parts.scheme == "tcp" and (port is None or parts.path):
        return "is not a plain TCP address: write tcp://address:port"
    if parts.username is not None or parts.password is not None:
        return "carries a user or password: remove it and name the secret under token"
    if parts.query or parts.fragment:
        return "has a ? or # part: write only scheme, host, port and path"
    if port == 0:
        return "has port 0: write the port on which the node listens"
    return _host_problem(host, networks)


def _host_problem(host: str, networks: Iterable[str]) -> str | None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if host.rstrip(".").lower() in _METADATA_NAMES:
            return "is a cloud metadata service: write the node's own address"
        if _NUMBER_LIKE.fullmatch(host.rstrip(".").rsplit(".", 1)[-1]) or not _HOST.fullmatch(host):
            return "has a host that is neither a name nor a plain address: write it as 10.0.0.7"
        return None
    return address_problem(host, networks)


def address_problem(address: str, networks: Iterable[str]) -> str | None:
    """Return why the bot may not call `address` (an IP literal) given the allowed CIDR ranges, or None if it may."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if any(ip in network for network in _METADATA):
        return "is a link-local or cloud metadata address: write the node's own address"
    if ip.is_unspecified or ip.is_multicast:
        return "is not one machine's address: write the node's own address"
    if not any(ip in network for network in _valid(networks)):
        return f"{ip} lies outside networks: add its range there, or correct the address"
    return None


def _valid(networks: Iterable[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    found = []
    for text in networks:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError:
            continue
    return found
