"""Anchors: signed checkpoints of the evidence log, handed to others, so that its owner cannot rewrite history unseen.

    rfc3161      a timestamp authority signs that the checkpoint existed by then
    http_put     another host keeps it as a file, written once
    object_lock  an S3 bucket keeps it and lets nobody delete it, its owner included, before a date
    channel      people have it in a chat channel
    making       builds what policy.yaml names          proofs   says in a sentence what a stored proof is

An anchor gives back a proof, which the store keeps beside the checkpoint. Nothing here decides when to anchor
(`bot.steps.anchor`), and nothing waits for an anchor: evidence is accepted while all of them are down.
"""

from bot.vault.anchors.making import Absent, make
from bot.vault.anchors.port import Anchor, AnchorError, AnotherHistory
from bot.vault.anchors.proofs import describe

__all__ = ["Absent", "Anchor", "AnchorError", "AnotherHistory", "describe", "make"]
