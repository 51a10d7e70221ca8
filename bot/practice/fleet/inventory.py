"""Write the inventory.yaml by which Stopsign knows a practice fleet, and the escrow that undoes its freezes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from bot.practice.fleet.spec import Api, FleetSpec, NodeSpec, build_hash, config_checksum

TOKEN_REFERENCE = "env:STOPSIGN_PRACTICE_NODE_TOKEN"  # noqa: S105  a reference, not a token


def inventory_yaml(
    spec: FleetSpec,
    *,
    base_port: int = 9100,
    url: Callable[[str], str] | None = None,
    token: str = TOKEN_REFERENCE,
    timeout: float = 2.0,
    escrow: Path | None = None,
) -> str:
    """Return the inventory of `spec`; node URLs by `url`, else by `base_port` as `running_fleet` gives them out.

    `token` is the reference under which the nodes' bearer token is found, `timeout` in seconds, `escrow` the folder
    that `write_escrow` filled: without it, a key that a keymanager deleted is imported by hand.
    """
    places = {node.name: f"http://127.0.0.1:{base_port + place}" for place, node in enumerate(spec.nodes, 1)}
    reach = url or places.__getitem__
    tree = {
        "networks": ["127.0.0.0/8"],
        "avs": [_avs(spec, avs) for avs in dict.fromkeys(node.avs for node in spec.nodes)],
        "defaults": {"api": {"driver": "sidecar", "token": token, "timeout": _seconds(timeout)}},
        "nodes": [_node(node, reach(node.name), escrow) for node in spec.nodes],
    }
    return yaml.safe_dump(tree, sort_keys=False, width=200)


def write_escrow(spec: FleetSpec, folder: Path) -> None:
    """Write a keystore and a password for each local key of the fleet's keymanager nodes, in a folder a node."""
    for node in spec.nodes:
        if node.api is not Api.KEYMANAGER:
            continue
        place = folder / node.name
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        for key in set(node.all_keys) - set(node.remote_keys):
            keystore = {"version": 4, "description": "practice keystore without a secret", "pubkey": key[2:]}
            (place / f"{key}.json").write_text(json.dumps(keystore))
            (place / f"{key}.txt").write_text("practice\n")


def _seconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _avs(spec: FleetSpec, avs: str) -> Mapping[str, object]:
    signers = sum(node.avs == avs for node in spec.nodes)
    period = _seconds(spec.duty_period_seconds)
    return {"name": avs, "quorum": max(signers * 2 // 3, 1), "duty_period": period, "network": "practice"}


def _node(node: NodeSpec, url: str, escrow: Path | None) -> Mapping[str, object]:
    return {
        "name": node.name,
        "avs": node.avs,
        "keys": list(node.all_keys),
        "cohort": node.cohort,
        "region": node.region,
        "client": node.client,
        "labels": {"signer": node.name},
        "api": {"url": url},
        **(_keymanager(node, escrow) if node.api is Api.KEYMANAGER else {}),
        **_rollback(node),
    }


def _keymanager(node: NodeSpec, escrow: Path | None) -> Mapping[str, object]:
    signer: dict[str, object] = {"driver": "keymanager"}
    if escrow is not None:
        signer["options"] = {"escrow": str(escrow / node.name)}
    return {"signer": signer, "escrow": escrow is not None}


def _rollback(node: NodeSpec) -> Mapping[str, object]:
    if node.previous_version is None or node.rollback_tested_at is None:
        return {}
    contract = {
        "build_hash": build_hash(node.client, node.previous_version),
        "config_checksum": config_checksum(node.name, node.previous_version),
        "tested_on": node.rollback_tested_at.date().isoformat(),
    }
    return {"rollback": contract}
