"""Timestamp authorities made with openssl: its answers are real, the certificates are ours."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CONFIG = """\
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
signer_cert = {folder}/signer.pem
signer_key = {folder}/signer.key
{chain}
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
ess_cert_id_chain = no
"""


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def private_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def issue(name: str, by: Issued | None = None, *, signs_time: bool = False, ended: timedelta | None = None) -> Issued:
    """Return a certificate: an authority's own, or one that signs time; `ended` is how long ago it expired."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    ) | dict.fromkeys(("encipher_only", "decipher_only"), False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now - ended if ended else now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=not signs_time, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(digital_signature=signs_time, key_cert_sign=not signs_time, crl_sign=not signs_time, **usage),
            critical=True,
        )
    )
    if by is not None:
        known = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
        builder = builder.add_extension(known, critical=False)
    if signs_time:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return Issued(builder.sign(by.key if by else key, hashes.SHA256()), key)


class LocalAuthority:
    """One authority in a folder; `chain` is what it sends besides its signer's certificate."""

    def __init__(self, folder: Path, root: Issued, signer: Issued, chain: tuple[Issued, ...] = ()) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self.root = root
        self.roots = folder / "roots.pem"
        self.roots.write_bytes(root.pem)
        (folder / "signer.pem").write_bytes(signer.pem)
        (folder / "signer.key").write_bytes(signer.private_pem)
        (folder / "chain.pem").write_bytes(b"".join(one.pem for one in chain))
        (folder / "serial").write_text("01\n")
        given = f"certs = {folder}/chain.pem" if chain else ""
        (folder / "tsa.cnf").write_text(CONFIG.format(folder=folder, chain=given))

    def reply(self, query: bytes) -> bytes:
        """Answer a DER TimeStampReq with a DER TimeStampResp."""
        asked, given = self._folder / "asked.tsq", self._folder / "given.tsr"
        asked.write_bytes(query)
        given.unlink(missing_ok=True)
        openssl("ts", "-reply", "-config", self._folder / "tsa.cnf", "-queryfile", asked, "-out", given)
        return given.read_bytes()

    def stamp(self, content: bytes, *options: str) -> bytes:
        """Have `content` stamped as anybody could, with openssl alone."""
        named, asked = self._folder / "content", self._folder / "query.tsq"
        named.write_bytes(content)
        openssl("ts", "-query", "-data", named, *(options or ("-sha256", "-cert")), "-out", asked)
        return self.reply(asked.read_bytes())


def openssl(*arguments: str | Path) -> str:
    """Run openssl; return what it said, and fail unless it succeeded."""
    ran = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=20)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr
