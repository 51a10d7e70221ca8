"""The practice fleet: nodes with real HTTP node APIs on loopback, some of which lie, and a port that tells the truth.

It speaks HTTP only and imports nothing else of Stopsign; nothing of it runs in `stopsign serve`.
"""

from bot.practice.fleet.inventory import inventory_yaml, write_escrow
from bot.practice.fleet.running import RunningFleet, running_fleet
from bot.practice.fleet.spec import Api, Character, FleetSpec, NodeSpec, build_hash, default_fleet, key_of

__all__ = [
    "Api",
    "Character",
    "FleetSpec",
    "NodeSpec",
    "RunningFleet",
    "build_hash",
    "default_fleet",
    "inventory_yaml",
    "key_of",
    "running_fleet",
    "write_escrow",
]
