"""The command line of the sidecar; `stopsign sidecar` and `python -m bot.sidecar` are the same."""

import asyncio
import difflib
import logging
import os
import platform
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from bot.errors import Misconfigured, StopsignError
from bot.sidecar import lines, place
from bot.sidecar.options import Tls, checked
from bot.sidecar.run import serve

_ENV = "STOPSIGN_SIDECAR_"
_KUBERNETES = re.compile(rf"{_ENV}(SERVICE_(HOST|PORT)(_.*)?|PORT(_\d+_(TCP|UDP)(_.*)?)?)")
"""Names that Kubernetes gives to every pod beside a Service called stopsign-sidecar."""


sidecar = typer.Typer(
    name="sidecar",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # a table has no room for names as long as the variables'
    subcommand_metavar="",
)


@sidecar.callback(invoke_without_command=True)
def stand(
    context: typer.Context,
    upstream: Annotated[
        str | None, typer.Option(envvar=f"{_ENV}UPSTREAM", help="The signer's URL: http://127.0.0.1:9000")
    ] = None,
    listen: Annotated[
        str, typer.Option(envvar=f"{_ENV}LISTEN", help="Where validator clients send what is to be signed.")
    ] = "127.0.0.1:9001",
    control: Annotated[
        str, typer.Option(envvar=f"{_ENV}CONTROL", help="Where the bot freezes and reads.")
    ] = "127.0.0.1:9002",
    data: Annotated[
        Path | None, typer.Option(envvar=f"{_ENV}DATA", help="The folder of the record and of the denied keys.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(envvar=f"{_ENV}TOKEN_FILE", help="Holds the control port's bearer token.")
    ] = None,
    node: Annotated[
        str | None, typer.Option(envvar=f"{_ENV}NODE", help="This signer's name. Default: the host's name.")
    ] = None,
    avs: Annotated[str, typer.Option(envvar=f"{_ENV}AVS", help="For whom is signed.")] = "ethereum",
    when_full: Annotated[
        Literal["deny", "pass"],
        typer.Option(envvar=f"{_ENV}WHEN_FULL", help="What becomes of a request that cannot be recorded."),
    ] = "deny",
    refuse_equivocation: Annotated[
        bool,
        typer.Option(
            "--refuse-equivocation/--flag-equivocation",
            envvar=f"{_ENV}REFUSE_EQUIVOCATION",
            help="Answer 412 to a second digest for one block slot or one attestation target, or only flag it.",
        ),
    ] = False,
    passed: Annotated[
        list[str] | None,
        typer.Option("--pass", envvar=f"{_ENV}PASS", help="Let one more request through: 'METHOD /path'. Repeatable."),
    ] = None,
    rotate_mib: Annotated[
        float, typer.Option(envvar=f"{_ENV}ROTATE_MIB", help="Size at which a file of the record is closed.")
    ] = 16,
    keep_mib: Annotated[
        float, typer.Option(envvar=f"{_ENV}KEEP_MIB", help="Size of the whole record; the oldest files go first.")
    ] = 10240,
    min_free_mib: Annotated[
        float, typer.Option(envvar=f"{_ENV}MIN_FREE_MIB", help="Below this free space the disk counts as full.")
    ] = 32,
    upstream_timeout: Annotated[
        float, typer.Option(envvar=f"{_ENV}UPSTREAM_TIMEOUT", help="Seconds that the signer has.")
    ] = 10,
    record_timeout: Annotated[
        float, typer.Option(envvar=f"{_ENV}RECORD_TIMEOUT", help="Seconds that the disk has.")
    ] = 4,
    drain: Annotated[
        float,
        typer.Option(envvar=f"{_ENV}DRAIN", help="Seconds that a freeze waits for requests that are at the signer."),
    ] = 1,
    duty_period: Annotated[
        float, typer.Option(envvar=f"{_ENV}DUTY_PERIOD", help="Seconds in which each key surely has a duty.")
    ] = 768,
    upstream_ca: Annotated[
        Path | None, typer.Option(envvar=f"{_ENV}UPSTREAM_CA", help="Authority of the signer's certificate.")
    ] = None,
    upstream_cert: Annotated[
        Path | None, typer.Option(envvar=f"{_ENV}UPSTREAM_CERT", help="Client certificate for the signer.")
    ] = None,
    upstream_key: Annotated[
        Path | None, typer.Option(envvar=f"{_ENV}UPSTREAM_KEY", help="Key of that certificate.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(envvar=f"{_ENV}TLS_CERT", help="Certificate of both ports; without it, plain HTTP.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(envvar=f"{_ENV}TLS_KEY", help="Key of that certificate.")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(envvar=f"{_ENV}TLS_CLIENT_CA", help="Authority that callers' certificates must have.")
    ] = None,
    pcap_dir: Annotated[
        Path | None, typer.Option(envvar=f"{_ENV}PCAP_DIR", help="The folder of tcpdump's ring of pcap files.")
    ] = None,
    pcap_interface: Annotated[
        str | None,
        typer.Option(envvar=f"{_ENV}PCAP_INTERFACE", help="Run that tcpdump here, on this interface."),
    ] = None,
    pcap_filter: Annotated[
        str | None, typer.Option(envvar=f"{_ENV}PCAP_FILTER", help="What it captures: 'tcp port 9001'. Default: all.")
    ] = None,
    pcap_mib: Annotated[float, typer.Option(envvar=f"{_ENV}PCAP_MIB", help="Size of the ring that it writes.")] = 128,
    allow_non_loopback: Annotated[
        bool,
        typer.Option("--allow-non-loopback", envvar=f"{_ENV}ALLOW_NON_LOOPBACK", help="Listen for other machines."),
    ] = False,
    plain_http: Annotated[
        bool,
        typer.Option("--plain-http", envvar=f"{_ENV}PLAIN_HTTP", help="Serve other machines without TLS all the same."),
    ] = False,
    connections: Annotated[
        int, typer.Option(envvar=f"{_ENV}CONNECTIONS", help="Connections that the signing port holds at once.")
    ] = 512,
    init: Annotated[
        bool, typer.Option("--init", help="Only make --data for a new sidecar, which denies nothing yet, and end.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check the record in --data, and end.")] = False,
) -> None:
    """Stand in front of a remote signer: record every signing request, deny frozen keys. Runs until it is ended."""
    if wrong := strangers(os.environ, [str(one.envvar) for one in context.command.params if one.envvar]):
        raise Misconfigured(wrong)
    if init:
        _init(data)
        return
    if check:
        _check(data)
        return
    options = checked(
        upstream=upstream,
        listen=listen,
        control=control,
        data=data,
        token_file=token_file,
        passed=passed or [],
        allow_non_loopback=allow_non_loopback,
        plain_http=plain_http,
        numbers={
            "rotate_mib": rotate_mib,
            "keep_mib": keep_mib,
            "min_free_mib": min_free_mib,
            "upstream_timeout": upstream_timeout,
            "record_timeout": record_timeout,
            "drain": drain,
            "duty_period": duty_period,
            "pcap_mib": pcap_mib,
            "connections": connections,
        },
        upstream_tls=Tls(certificate=upstream_cert, key=upstream_key, authority=upstream_ca),
        listen_tls=Tls(certificate=tls_cert, key=tls_key, authority=tls_client_ca),
        node=node or platform.node() or "sidecar",
        avs=avs,
        when_full=when_full,
        refuse_equivocation=refuse_equivocation,
        pcap_dir=pcap_dir,
        pcap_interface=pcap_interface,
        pcap_filter=pcap_filter,
    )
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(serve(options))


def strangers(environ: Mapping[str, str], known: Collection[str]) -> list[str]:
    """Return a sentence for each variable that looks like one of the sidecar's, and is none."""
    found = []
    for name in sorted(environ):
        if name.startswith(_ENV) and name not in known and not _KUBERNETES.fullmatch(name):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "remove it; --help lists what there is"
            found.append(f"{name}: is no variable of the sidecar: {hint}")
    return found


def _init(data: Path | None) -> None:
    """Make the folder of a new sidecar, and say so."""
    if data is None:
        raise Misconfigured(["--data: is not set: --init makes that folder"])
    place.make(data)
    typer.echo(f"{data} is made, and denies nothing yet: start the sidecar with --data {data}")


def _check(data: Path | None) -> None:
    """Print what a record's chain shows; raises StopsignError when it is broken, or when there is none."""
    if data is None or not data.is_dir():
        raise Misconfigured(["--data: is no folder: --check needs the folder of a record"])
    found = lines.check(data)
    if not found.files:
        raise StopsignError(f"there is no record in {data}: no file of it is named signing-….ndjson")
    if found.wrong:
        raise StopsignError("the record is not whole: " + "; ".join(found.wrong))
    typer.echo(f"{found.lines} lines in {found.files} files, {found.first} to {found.last}: the chain is unbroken")
