"""Have a timestamp authority sign that a checkpoint existed (RFC 3161, over HTTP as in its §3.4).

What is stamped is the SHA-256 of the note's bytes. An answer is believed only after the same checks that a stranger can
make later with `openssl ts -verify`; the proof is the DER of the whole TimeStampResp, as it came.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from bot.errors import Misconfigured
from bot.ports import Clock
from bot.vault.anchors.der import in_der_order
from bot.vault.anchors.port import AnchorError
from bot.vault.anchors.wire import WITHIN, exchange, refusal

TOLERANCE: Final = timedelta(minutes=5)
"""How far an authority's clock may be from ours."""
_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_GRANTED: Final = 0


class Authority:
    """One timestamp authority; `roots` is a PEM file with the root certificates that its chain must end in."""

    kind = "rfc3161"

    def __init__(
        self,
        name: str,
        url: str,
        *,
        roots: str,
        clock: Clock,
        tolerance: timedelta = TOLERANCE,
        within: float = WITHIN,
    ) -> None:
        """Look whether the roots can be read. Raises Misconfigured."""
        self.name = name
        self._url = url
        self._roots = Path(roots)
        self._clock = clock
        self._tolerance = tolerance
        self._within = within
        _read(self._roots)

    async def anchor(self, note: str, size: int) -> bytes:
        """Return the authority's answer, verified: status, imprint, nonce, signature, chain, and its time."""
        content = note.encode()
        request = TimestampRequestBuilder().data(content).hash_algorithm(HashAlgorithm.SHA256).nonce(nonce=True)
        query = request.cert_request(cert_request=True).build()
        headers = {"content-type": "application/timestamp-query", "accept": "application/timestamp-reply"}
        answer = await exchange("POST", self._url, content=query.as_bytes(), headers=headers, within=self._within)
        if answer.status != 200:
            raise refusal(self._url, answer)
        try:
            at = _verify(content, answer.content, _read(self._roots), nonce=query.nonce)
        except AnchorError as error:
            raise AnchorError(f"{self._url}: {error}") from error
        away = abs(at - self._clock.now())
        if away > self._tolerance:
            raise AnchorError(
                f"{self._url}: the timestamp says {at.isoformat()}, {round(away.total_seconds())} s away from our "
                "clock: one of the two is wrong"
            )
        return answer.content


def verify_timestamp(note: bytes, proof: bytes, roots: bytes) -> datetime:
    """Return the time at which an authority says that `note` existed; pure.

    Args:
        note: the stamped bytes.
        proof: a DER TimeStampResp (RFC 3161 §2.4.2) with the signer's certificate in it.
        roots: PEM certificates; the signer's chain must end in one of them. Validity is judged at the stamp's time.

    Raises:
        AnchorError: with the first thing that is wrong.
    """
    return _verify(note, proof, _certificates(roots), nonce=None)


def time_of(proof: bytes) -> datetime:
    """Return the time that a TimeStampResp says, unverified. Raises AnchorError when it says none."""
    with _explained():
        return _granted(proof).tst_info.gen_time.astimezone(UTC)


def _verify(note: bytes, proof: bytes, roots: list[Certificate], *, nonce: int | None) -> datetime:
    with _explained():
        response = _granted(proof)
        info = response.tst_info
        if info.message_imprint.hash_algorithm.dotted_string != _SHA256:
            raise AnchorError("the timestamp is over another kind of hash than SHA-256")
        if info.message_imprint.message != sha256(note).digest():
            raise AnchorError("the timestamp is for another content: its message imprint is not this checkpoint's hash")
        if nonce is not None and info.nonce != nonce:
            raise AnchorError("the timestamp answers another request: its nonce is not ours; it may be an old one")
        VerifierBuilder(roots=roots, nonce=nonce).build().verify(response, sha256(note).digest())
        return info.gen_time.astimezone(UTC)


def _granted(proof: bytes) -> TimeStampResponse:
    """Return a response with a token; one without must not reach the library's getters, which assume it."""
    try:
        response = decode_timestamp_response(in_der_order(proof))
    except ValueError as error:
        why = str(error)
        if "InvalidSetOrdering" in why:
            why = (
                "a set in it is not in DER order, which rfc3161-client refuses although openssl accepts it. "
                "Choose another authority"
            )
        raise AnchorError(f"the answer is no timestamp that can be read: {why}") from error
    if response.status != _GRANTED:
        said = "; ".join(response.status_string)[:200] or "nothing else"
        raise AnchorError(f"the authority granted no timestamp (PKIStatus {response.status}) and said: {said}")
    return response


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what the library raises into a sentence."""
    try:
        yield
    except VerificationError as error:
        raise AnchorError(f"the timestamp does not verify: {_first(error)}") from error
    except (ValueError, TypeError) as error:
        raise AnchorError(f"the timestamp cannot be read: {_first(error)}") from error
    except BaseException as error:
        # The library's parser is Rust: what it did not foresee is a panic, which is not an Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise AnchorError(f"the timestamp cannot be read: {_first(error)}") from error


def _first(error: BaseException) -> str:
    """Return the telling part of a library's error."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if "signer certificate not found" in text:
        return "the signer's certificate is not in it"
    if "certificate verify error" in text:
        _, _, data = text.rpartition('data: "')
        return f"its chain does not lead to the configured roots, or was not valid then ({data.partition(chr(34))[0]})"
    return text[:300]


def _read(path: Path) -> list[Certificate]:
    try:
        return _certificates(path.read_bytes())
    except OSError as error:
        raise Misconfigured([f"{path}: the roots of a timestamp authority cannot be read: {error.strerror}"]) from None
    except AnchorError as error:
        raise Misconfigured([f"{path}: {error}"]) from None


def _certificates(pem: bytes) -> list[Certificate]:
    try:
        return load_pem_x509_certificates(pem)
    except ValueError:
        raise AnchorError("there is no PEM certificate in the file of roots") from None
