"""Put the certificates of a timestamp token into DER order.

In DER the members of a SET OF are sorted (X.690 §11.6). Many authorities send the signer's certificate first instead,
which openssl accepts and rfc3161-client does not. No signature covers the order (RFC 5652 §5.4), so sorting proves and
hides nothing; it is done for the verification only, the stored proof stays as it came.
"""

from typing import Final

_SEQUENCE: Final = 0x30
_CONTEXT_0: Final = 0xA0
_PATH: Final = ((_SEQUENCE, 1), (_SEQUENCE, 1), (_CONTEXT_0, 0), (_SEQUENCE, 3))
"""TimeStampResp → its token (a ContentInfo) → content [0] → SignedData → certificates: tag, and members to skip."""


def in_der_order(response: bytes) -> bytes:
    """Return a TimeStampResp with its certificates sorted; anything that is not one comes back as it is."""
    try:
        start, end = _certificates(response)
        members, at = [], start
        while at < end:
            _, following = _element(response, at, end)
            members.append(response[at:following])
            at = following
    except ValueError:
        return response
    return response[:start] + b"".join(sorted(members)) + response[end:]


def _certificates(response: bytes) -> tuple[int, int]:
    """Return where the content of SignedData.certificates begins and ends."""
    at, end = 0, len(response)
    for tag, skipped in _PATH:
        at, end = _inside(response, at, end, tag)
        for _ in range(skipped):
            at = _element(response, at, end)[1]
    return _inside(response, at, end, _CONTEXT_0)


def _inside(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    content, following = _element(data, at, end)
    if data[at] != tag:
        raise ValueError("another element")
    return content, following


def _element(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return where the content of the element at `at` begins, and where the next element begins (X.690 §8.1.3)."""
    if at + 2 > end:
        raise ValueError("cut off")
    size, content = data[at + 1], at + 2
    if size >= 0x80:
        content += size & 0x7F
        size = int.from_bytes(data[at + 2 : content], "big")
    if content + size > end:
        raise ValueError("cut off")
    return content, content + size
