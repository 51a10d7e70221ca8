"""Run one sidecar: two ports, one record, until it is told to end."""

import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from bot import __version__
from bot.sidecar import place
from bot.sidecar.control import Control, Process
from bot.sidecar.counts import Counts
from bot.sidecar.denials import Denials
from bot.sidecar.gate import Gate
from bot.sidecar.options import Options, Token, client_context, server_context
from bot.sidecar.pcap import Ring
from bot.sidecar.ports import CONTROL_CONNECTIONS, RESERVE, Port, open_files, serving
from bot.sidecar.record import Record
from bot.sidecar.upstream import Upstream
from bot.sidecar.words import now

_LOG = logging.getLogger("bot.sidecar")
_LIST_EVERY_SECONDS = 5.0


async def serve(options: Options) -> None:
    """Serve until SIGTERM or SIGINT; raises StopsignError when it cannot begin."""
    # The event loop takes turns with the record's thread: at 5 ms a turn, a signature would wait for them.
    sys.setswitchinterval(0.0005)
    open_files(options.connections)
    async with opened(options) as sidecar:
        told = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told.set)
        upstream, trouble = sidecar.upstream, None
        while not told.is_set():
            await upstream.refresh(_LIST_EVERY_SECONDS)
            if upstream.trouble != trouble:
                said = upstream.trouble or "it lists its keys again"
                _LOG.log(
                    logging.WARNING if upstream.trouble else logging.INFO, "the signer at %s: %s", upstream.base, said
                )
                trouble = upstream.trouble
            with suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), _LIST_EVERY_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """A sidecar that serves, and where."""

    signing: str
    control: str
    upstream: Upstream


@asynccontextmanager
async def opened(
    options: Options, *, denials_of: type[Denials] = Denials, gate_of: type[Gate] = Gate
) -> AsyncIterator[Sidecar]:
    """Serve for the length of a block; raises StopsignError when that cannot begin.

    Tests give other classes, to have a sidecar that lies.
    """
    # Before the record is touched: a file that cannot be read must change nothing.
    upstream_tls, tls = client_context(options.upstream_tls), server_context(options.listen_tls)
    async with AsyncExitStack() as ending:
        place.need(options.data)
        ending.callback(os.close, place.lock(options.data))
        process = Process(instance=secrets.token_hex(8), started_at=now())
        denials = denials_of(place.denied_at(options.data), fresh=False)
        counts = Counts()
        record = _record(options, process, counts)
        ending.push_async_callback(asyncio.to_thread, record.close)
        upstream = Upstream(
            options.upstream,
            timeout=options.upstream_timeout,
            context=upstream_tls,
            memory=options.data / "keys.json",
            connections=options.connections + 1,  # one is for the list of keys
        )
        ending.push_async_callback(upstream.close)
        gate = gate_of(options, record, denials, counts, upstream)
        token = Token(options.token_file)
        token.read()  # so that it is known when no file can be opened
        ring = None
        if options.capture is not None:
            made = Ring(options.capture, control=options.control[1], memory=options.data / "tcpdump.pid")
            ring = await ending.enter_async_context(made.kept())
        control = Control(
            options,
            process,
            record=record,
            denials=denials,
            counts=counts,
            upstream=upstream,
            gate=gate,
            token=token,
            ring=ring,
        )
        # The signing port ends first: while it drains, the control port still answers.
        doors = Port(control, most=CONTROL_CONNECTIONS), Port(gate, most=options.connections, reserve=RESERVE)
        doors[0].others = doors[1]
        control_url = await ending.enter_async_context(serving("control", doors[0], options.control, tls))
        signing_url = await ending.enter_async_context(serving("signing", doors[1], options.listen, tls))
        _LOG.info("requests are passed on to %s; %d keys are frozen", options.upstream, len(denials.keys))
        yield Sidecar(signing=signing_url, control=control_url, upstream=upstream)


def _record(options: Options, process: Process, counts: Counts) -> Record:
    """Open the record, and let the counts remember what it says was asked for."""
    record = Record(
        options.data,
        rotate_at=options.rotate_at,
        keep=options.keep,
        min_free=options.min_free,
        about={"instance_id": process.instance, "version": __version__, "pid": os.getpid()},
    )
    record.open()
    for key, mark, digest in record.marks:
        counts.conflicts(key, mark, digest)
    record.marks.clear()
    for damage in record.damage:
        _LOG.warning("the record is damaged: %s", damage)
    return record
