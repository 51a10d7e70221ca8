"""`stopsign sidecar`: the recording proxy in front of a remote signer. All of it is in `bot.sidecar`."""

from bot.sidecar.command import sidecar

__all__ = ["sidecar"]
