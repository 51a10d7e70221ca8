"""Look at where evidence goes and who else holds its log: the bucket, and the anchors."""

import asyncio
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from bot.config.references import secret
from bot.config.review import Check, fail, ok, warn
from bot.domain.config import Config
from bot.errors import Misconfigured, StopsignError
from bot.settings import Settings
from bot.vault.anchors import make

PATIENCE = 15.0
"""Seconds for all that is asked of a bucket; each request has one."""


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


async def bucket(settings: Settings, config: Config) -> Iterable[Check]:
    """Say whether the bucket takes evidence and locks it; nothing to say when evidence stays in the home folder."""
    url = settings.evidence_url
    if url is None:
        return []
    try:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.to_thread(lambda: list(_bucket(url, settings, config)))
    except TimeoutError:
        return [fail("bucket", f"{url} gave no answer within {PATIENCE:g} s", "check STOPSIGN_S3_ENDPOINT_URL")]


def _bucket(url: str, settings: Settings, config: Config) -> Iterator[Check]:
    todo = "docs/evidence-s3.md says how to set it up"
    with tempfile.TemporaryDirectory(prefix="stopsign-doctor-") as spool:
        try:
            from bot.vault.bucket import Bucket

            made = Bucket.from_url(
                url,
                endpoint=settings.s3_endpoint_url,
                retention=config.policy.evidence.retention,
                spool=Path(spool),
                clock=_Clock(),
                timeout=1,
            )
        except Misconfigured as error:
            yield fail("bucket", "; ".join(error.problems), todo)
            return
        try:
            problems = made.problems()
            yield from (fail("bucket", problem, todo) for problem in problems)
            yield from (warn("bucket", warning, todo) for warning in ([] if problems else made.warnings()))
            if not problems:
                yield ok("bucket", f"{url} takes contents and locks them")
        except StopsignError as error:
            yield fail("bucket", str(error), todo)
        finally:
            made.close()


def anchors(settings: Settings, config: Config, environ: Mapping[str, str]) -> Iterator[Check]:
    """Say who else holds the log's checkpoints, and what is missing for it."""
    wanted = config.policy.evidence.anchors
    if not wanted:
        what = "nobody else holds the evidence log's checkpoints: who owns this machine and the key can rewrite it"
        yield warn("anchors", what, "name some in policy.yaml, evidence.anchors (docs/anchors.md)")
    for one in wanted:
        try:
            make(
                one,
                secret=lambda reference: secret(reference, environ),
                post=_no_post if settings.slack_bot_token else None,
                clock=_Clock(),
                retention=config.policy.evidence.retention,
                s3_endpoint=settings.s3_endpoint_url,
            )
            if one.token is not None:
                secret(one.token, environ)
        except Misconfigured as error:
            yield fail(
                "anchors", "; ".join(error.problems), "correct evidence.anchors in policy.yaml (docs/anchors.md)"
            )
            continue
        yield ok("anchors", f"{one.name} ({one.kind}) gets a checkpoint each {config.policy.evidence.anchor_every}")


async def _no_post(channel: str, text: str) -> str:
    raise NotImplementedError
