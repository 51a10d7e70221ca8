"""What the command line and the environment decide, checked all at once."""

import errno
import hashlib
import hmac
import ipaddress
import json
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from bot.errors import Misconfigured

SHORTEST_TOKEN = 16
"""Characters below which a token could be guessed."""
MEBIBYTE = 1024 * 1024
_SMALLEST_RING = 8
"""MiB: tcpdump counts the size of each of eight files in millions of bytes."""
_NO_FILE_LEFT = frozenset({errno.EMFILE, errno.ENFILE})
_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,63}")
_PASS = re.compile(r"(GET|HEAD|POST|PUT|PATCH|DELETE) (/[A-Za-z0-9._~/-]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files of one side of TLS: own certificate with its key, and the authority that the other side must show."""

    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """A ring of pcap files; with an `interface`, the sidecar runs the tcpdump that writes it, up to `size` bytes."""

    folder: Path
    interface: str | None = None
    filter: str = ""
    size: int = 128 * MEBIBYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How one sidecar runs. Durations are in seconds, sizes in bytes."""

    upstream: str
    listen: tuple[str, int]
    control: tuple[str, int]
    data: Path
    token_file: Path
    node: str
    avs: str
    when_full: Literal["deny", "pass"] = "deny"
    refuse_equivocation: bool = False
    passed: tuple[tuple[str, str], ...] = ()
    rotate_at: int = 16 * MEBIBYTE
    keep: int = 10 * 1024 * MEBIBYTE
    min_free: int = 32 * MEBIBYTE
    upstream_timeout: float = 10.0
    record_timeout: float = 4.0
    drain: float = 1.0
    duty_period: float = 768.0
    connections: int = 512
    upstream_tls: Tls = Tls()
    listen_tls: Tls = Tls()
    capture: Capture | None = None

    @property
    def checksum(self) -> str:
        """Return the SHA-256 of these options, as docs/node-api.yaml writes a hash."""
        told = json.dumps(asdict(self), default=str, sort_keys=True)
        return "sha256:" + hashlib.sha256(told.encode()).hexdigest()


def checked(
    *,
    upstream: str | None,
    listen: str,
    control: str,
    data: Path | None,
    token_file: Path | None,
    passed: list[str],
    allow_non_loopback: bool,
    plain_http: bool = False,
    numbers: Mapping[str, float],
    upstream_tls: Tls,
    listen_tls: Tls,
    node: str,
    avs: str,
    when_full: Literal["deny", "pass"],
    refuse_equivocation: bool,
    pcap_dir: Path | None = None,
    pcap_interface: str | None = None,
    pcap_filter: str | None = None,
) -> Options:
    """Return the options; raises Misconfigured with all that is wrong."""
    wrong: list[str] = []
    ports = {name: _address(name, text, wrong) for name, text in (("--listen", listen), ("--control", control))}
    for name, (host, _) in ports.items():
        if not allow_non_loopback and not _is_loopback(host):
            wrong.append(
                f"{name}: {host} can be reached from other machines. Listen on 127.0.0.1, or say --allow-non-loopback "
                "and give --tls-cert, --tls-key and --tls-client-ca"
            )
    if allow_non_loopback and not plain_http and not (listen_tls.certificate and listen_tls.key):
        away = [name for name, (host, _) in ports.items() if not _is_loopback(host)]
        wrong += [
            f"{' and '.join(away)}: other machines would be served without TLS, and the token sent in clear. Give "
            "--tls-cert, --tls-key and --tls-client-ca, or say --plain-http where a tunnel carries it"
        ] * bool(away)
    if ports["--listen"] == ports["--control"] and ports["--listen"][1]:
        wrong.append("--listen and --control: are the same address")
    url = _upstream(upstream, wrong)
    wrong += [f"--upstream: {url} is {name} of this very sidecar" for name, at in ports.items() if _leads_to(url, at)]
    if data is None:
        wrong.append("--data: is not set: give the folder in which the record and the denied keys are kept")
    if token_file is None:
        wrong.append("--token-file: is not set: the control port needs a token, make one with openssl rand -hex 32")
    else:
        try:
            Token(token_file).read()
        except Misconfigured as error:
            wrong += error.problems
    ways = [match for text in passed if (match := _PASS.fullmatch(text))]
    if len(ways) != len(passed):
        wrong.append("--pass: write a method and a path, such as --pass 'GET /api/v1/eth2/highWatermark'")
    wrong += [f"--pass: {m[0]} would sign past the record" for m in ways if "/sign" in m[2]]
    wrong += [f"--{name.replace('_', '-')}: must be greater than 0" for name, value in numbers.items() if value <= 0]
    for name, tls in (("--upstream", upstream_tls), ("--tls", listen_tls)):
        if (tls.certificate is None) != (tls.key is None):
            wrong.append(f"{name}-cert and {name}-key: go together")
    if listen_tls.authority and not listen_tls.certificate:
        wrong.append("--tls-client-ca: needs --tls-cert and --tls-key")
    capture = _capture(pcap_dir, pcap_interface, pcap_filter, numbers.get("pcap_mib", 128), data, wrong)
    if wrong or data is None or token_file is None:
        raise Misconfigured(wrong)
    return Options(
        upstream=url,
        listen=ports["--listen"],
        control=ports["--control"],
        data=data,
        token_file=token_file,
        node=node,
        avs=avs,
        when_full=when_full,
        refuse_equivocation=refuse_equivocation,
        passed=tuple((m[1], m[2]) for m in ways),
        rotate_at=int(numbers["rotate_mib"] * MEBIBYTE),
        keep=int(numbers["keep_mib"] * MEBIBYTE),
        min_free=int(numbers["min_free_mib"] * MEBIBYTE),
        upstream_timeout=numbers["upstream_timeout"],
        record_timeout=numbers["record_timeout"],
        drain=numbers["drain"],
        duty_period=numbers["duty_period"],
        connections=int(numbers.get("connections", 512)),
        upstream_tls=upstream_tls,
        listen_tls=listen_tls,
        capture=capture,
    )


class Token:
    """The control port's bearer token, read again whenever its file changes, unless no file can be opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token = ""

    def read(self) -> str:
        """Return the token; raises Misconfigured when the file holds none that is worth the name."""
        try:
            told = os.stat(self._path)
            seen = (told.st_mtime_ns, told.st_size, told.st_ino)
            if seen == self._seen:
                return self._token
            token = self._path.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _NO_FILE_LEFT and self._seen:
                return self._token
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise Misconfigured([f"--token-file: {self._path} cannot be read ({reason})"]) from None
        if told.st_mode & 0o007:
            raise Misconfigured([f"--token-file: everybody may read {self._path}: chmod o-rwx it"])
        if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
            raise Misconfigured(
                [f"--token-file: the token has fewer than {SHORTEST_TOKEN} characters, or strange ones"]
            )
        self._seen, self._token = seen, token
        return token

    def accepts(self, header: str | None) -> bool:
        """Tell whether an Authorization header carries the token; raises Misconfigured as `read` does."""
        wanted = f"Bearer {self.read()}"
        return header is not None and hmac.compare_digest(header.encode(), wanted.encode())


def client_context(tls: Tls) -> ssl.SSLContext:
    """Return the TLS of the way to the signer; raises Misconfigured."""
    try:
        context = ssl.create_default_context(cafile=tls.authority)
        if tls.certificate and tls.key:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:
        raise Misconfigured([f"--upstream-…: a certificate cannot be read ({error.strerror or error})"]) from None
    return context


def server_context(tls: Tls) -> ssl.SSLContext | None:
    """Return the TLS of both ports, or None for plain HTTP; raises Misconfigured."""
    if not tls.certificate or not tls.key:
        return None
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.authority)
        context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:
        raise Misconfigured([f"--tls-…: a certificate cannot be read ({error.strerror or error})"]) from None
    if tls.authority:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _capture(
    folder: Path | None, interface: str | None, chosen: str | None, mib: float, data: Path | None, wrong: list[str]
) -> Capture | None:
    if chosen and interface is None:
        wrong.append("--pcap-filter: needs --pcap-interface: the sidecar filters only for the tcpdump that it runs")
    if interface is not None and not _INTERFACE.fullmatch(interface):
        wrong.append("--pcap-interface: is no name of a network interface, such as eth0 or any")
    if chosen and (not chosen.isprintable() or chosen.count("(") != chosen.count(")")):
        wrong.append("--pcap-filter: must be one line as tcpdump takes it, such as 'tcp port 9001'")
    if 0 < mib < _SMALLEST_RING:
        wrong.append(f"--pcap-mib: must be at least {_SMALLEST_RING}")
    if folder is None:
        if interface is not None:
            wrong.append("--pcap-interface: needs --pcap-dir, the folder of the ring")
        return None
    if data is not None and folder.absolute() == data.absolute():
        wrong.append("--pcap-dir: must be another folder than --data")
    return Capture(folder=folder, interface=interface, filter=chosen or "", size=int(mib * MEBIBYTE))


def _address(name: str, text: str, wrong: list[str]) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(host)), _port(port)
    except ValueError:
        wrong.append(f"{name}: write an IP address and a port, such as 127.0.0.1:9001")
        return "127.0.0.1", 0


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


def _leads_to(url: str, at: tuple[str, int]) -> bool:
    """Tell whether a URL is an address that is listened on; a name is only known where it is localhost."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        hosts = (
            ["127.0.0.1", "::1"] if parts.hostname == "localhost" else [str(ipaddress.ip_address(parts.hostname or ""))]
        )
    except ValueError:
        return False
    own = ipaddress.ip_address(at[0])
    everywhere = own.is_unspecified and any(_is_loopback(host) for host in hosts)
    return port == at[1] and (str(own) in hosts or everywhere)


def _upstream(url: str | None, wrong: list[str]) -> str:
    if url is None:
        wrong.append("--upstream: is not set: give the signer's URL, such as http://127.0.0.1:9000")
        return ""
    parts = urlsplit(url)
    bad = parts.username or parts.password or parts.query or parts.fragment or not parts.hostname
    if bad or parts.scheme not in {"http", "https"} or re.search(r"\s", url):
        wrong.append("--upstream: must be a plain URL such as http://127.0.0.1:9000, without user, ? and #")
    return url.rstrip("/")
