"""One HTTP request to an anchor: bounded in time and size, through no proxy, following no redirect."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from bot.vault.anchors.port import AnchorError

MOST_BYTES: Final = 1 << 20
WITHIN: Final = 30.0
"""Seconds for a whole exchange, so that no anchor holds a worker's place for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the other side answered; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


async def exchange(
    method: str, url: str, *, content: bytes | None = None, headers: Mapping[str, str], within: float = WITHIN
) -> Answer:
    """Send one request and read at most a mebibyte of the answer.

    Raises:
        AnchorError: no connection, no answer within `within` seconds, a redirect, or an answer that is too large.
    """
    sent = {**headers, "accept-encoding": "identity"}
    try:
        async with (
            asyncio.timeout(within),
            httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=within) as client,
            client.stream(method, url, content=content, headers=sent) as answer,
        ):
            if answer.is_redirect:
                raise AnchorError(f"{url} answers with a redirect ({answer.status_code}): write the final address")
            body = bytearray()
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise AnchorError(f"{url} answers more than {MOST_BYTES} bytes: this is not what it should send")
            return Answer(status=answer.status_code, headers=answer.headers, content=bytes(body))
    except TimeoutError:
        raise AnchorError(f"{url} gave no answer within {within:g} s") from None
    except httpx.HTTPError as error:
        raise AnchorError(f"{url} cannot be reached: {str(error) or type(error).__name__}") from error
    except httpx.InvalidURL as error:
        raise AnchorError(f"{url} is not an address: {error}") from error


def refusal(url: str, answer: Answer) -> AnchorError:
    """Return what an unexpected status means, with what may be done."""
    advice = {401: ": check the token", 403: ": check the token", 404: ": check the address"}
    return AnchorError(f"{url} answered {answer.status}{advice.get(answer.status, '')}")
