"""TLS on both sides: the signer wants a client certificate, and so does the sidecar."""

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bot.sidecar.options import client_context, server_context
from bot.sidecar.run import opened
from tests.sidecar.bench import ACCEPTED, KEYS, Tls, attestation, fake_signer, options

A = KEYS[0]


@dataclass(frozen=True)
class Authority:
    """Files of one authority and of the certificate that it gave to 127.0.0.1."""

    folder: Path

    def __post_init__(self) -> None:
        """Make them."""
        self.folder.mkdir()
        key, name = ec.generate_private_key(ec.SECP256R1()), self._name(self.folder.name)
        self._write("ca", key, self._made(name, name, key, key, ca=True))
        own = ec.generate_private_key(ec.SECP256R1())
        self._write("own", own, self._made(self._name("127.0.0.1"), name, own, key, ca=False))

    @property
    def tls(self) -> Tls:
        """Return the certificate, with this authority as the one to be trusted."""
        f = self.folder
        return Tls(certificate=f / "own.pem", key=f / "own.key", authority=f / "ca.pem")

    def _name(self, name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def _made(
        self,
        name: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        by: ec.EllipticCurvePrivateKey,
        *,
        ca: bool,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(address, critical=False)
            .sign(by, hashes.SHA256())
        )

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        pem, pkcs8, plain = (
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(pem))
        (self.folder / f"{name}.key").write_bytes(key.private_bytes(pem, pkcs8, plain))


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


async def test_only_who_has_a_certificate_signs_and_freezes(tmp_path: Path, ours: Authority) -> None:
    theirs, signer = Authority(tmp_path / "theirs"), fake_signer()
    runner = web.AppRunner(signer.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(ours.tls)).start()
    upstream = f"https://127.0.0.1:{runner.addresses[0][1]}"
    try:
        chosen = options(tmp_path, upstream, upstream_tls=ours.tls, listen_tls=ours.tls)
        async with opened(chosen) as it, aiohttp.ClientSession() as session:
            assert it.signing.startswith("https://")
            url = f"{it.signing}/api/v1/eth2/sign/{A}"
            known = client_context(ours.tls)
            async with session.post(url, data=attestation(1), headers=ACCEPTED, ssl=known) as told:
                assert told.status == 200
            assert signer.signed[A] == 1
            nobody = client_context(Tls(authority=ours.folder / "ca.pem"))
            stranger = ssl.create_default_context(cafile=str(ours.folder / "ca.pem"))
            stranger.load_cert_chain(theirs.folder / "own.pem", theirs.folder / "own.key")
            for base in (it.signing, it.control):
                for context in (nobody, stranger):
                    with pytest.raises(aiohttp.ClientError):
                        async with session.get(f"{base}/upcheck", ssl=context) as told:
                            await told.read()
    finally:
        await runner.cleanup()


async def test_a_signer_with_a_strange_certificate_is_not_asked(tmp_path: Path, ours: Authority) -> None:
    theirs, signer = Authority(tmp_path / "theirs"), fake_signer()
    runner = web.AppRunner(signer.app(), access_log=None)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(theirs.folder / "own.pem", theirs.folder / "own.key")
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        chosen = options(tmp_path, f"https://127.0.0.1:{runner.addresses[0][1]}", upstream_tls=ours.tls)
        async with opened(chosen) as it, aiohttp.ClientSession() as session:
            url = f"{it.signing}/api/v1/eth2/sign/{A}"
            async with session.post(url, data=attestation(1), headers=ACCEPTED) as told:
                assert told.status == 502
            assert signer.asked == 0
    finally:
        await runner.cleanup()
