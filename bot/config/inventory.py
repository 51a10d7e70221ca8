"""inventory.yaml → Inventory.

A node is written flat, with a block for each capability. `defaults` fills what a node leaves out, block by block;
`api` is one endpoint for every capability that has no block of its own.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

from bot.config.policy import CHANNEL
from bot.config.sheet import Sheet, did_you_mean
from bot.config.yaml_tree import Place, Tree
from bot.domain.addresses import url_problem
from bot.domain.inventory import Avs, Capability, Endpoint, Inventory, Node, same_key

TOP = ("networks", "avs", "defaults", "nodes")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
RESERVED = frozenset({"all", "none", "any", "everything"})
REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.+", re.ASCII)
_SECRET = re.compile(r"token|secret|password|credential", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_KEY = re.compile(r"0x(?:[0-9a-fA-F]{2}){1,100}", re.ASCII)
_DRIVER = re.compile(r"[a-z][a-z0-9_]{0,40}", re.ASCII)
_CAPABILITIES = tuple(str(c) for c in Capability)
_ENDPOINT = ("driver", "url", "token", "timeout", "options", "ca", "client_cert", "client_key")
_NODE = (
    *("name", "avs", "keys", "cohort", "region", "zone", "provider", "client", "labels", "rollback", "escrow"),
    *("api", *_CAPABILITIES),
)
_LONGEST_TIMEOUT = timedelta(minutes=1)
_TOKEN_REMEDY = "must be a reference, never the secret itself: write env:NAME or file:/absolute/path"  # noqa: S105


def read_inventory(sheet: Sheet) -> Inventory:
    """Return the fleet in `sheet`; what is wrong with it is said there and left out of the result."""
    top = sheet.mapping(sheet.tree, (), known=TOP)
    networks = _networks(sheet, top)
    services = _services(sheet, top.get("avs"))
    nodes = _nodes(sheet, top, services, networks)
    inventory = Inventory(avs=services, nodes=nodes, networks=networks)
    if not sheet.problems:
        _check_quorums(sheet, top.get("avs"), inventory)
    return inventory


def _networks(sheet: Sheet, top: Mapping[str, Tree]) -> tuple[str, ...]:
    written = top.get("networks")
    if written is None:
        return Inventory(avs={}, nodes={}).networks
    if not isinstance(written, list):
        sheet.say(("networks",), 'must be a list: write ["10.0.0.0/8"]')
        return ()
    return tuple(str(entry) for i, entry in enumerate(written) if _is_network(sheet, entry, ("networks", i)))


def _is_network(sheet: Sheet, entry: Tree, place: Place) -> bool:
    try:
        network = ipaddress.ip_network(str(entry), strict=True)
    except ValueError:
        sheet.say(place, "must be an address range without host bits: write it as 10.20.0.0/16")
        return False
    if network.prefixlen == 0:
        sheet.say(place, "would allow every address there is: name the ranges in which your nodes live")
        return False
    return True


def _services(sheet: Sheet, written: Tree) -> dict[str, Avs]:
    found: dict[str, Avs] = {}
    if not written:
        sheet.say(("avs",), "names no service: list each AVS with name, quorum and duty_period")
    for place, entry in sheet.entries(written, ("avs",), name="name"):
        service = sheet.read(Avs, entry, place)
        if service is None:
            continue
        _check_name(sheet, service.name, place)
        if service.name in found:
            sheet.say((*place, "name"), f"{service.name!r} is listed twice: keep one")
        if service.quorum < 1:
            sheet.say((*place, "quorum"), "must be at least 1: how many signers must go on signing")
        if not service.duty_period > timedelta():
            sheet.say((*place, "duty_period"), "must be longer than 0: how often a key has a duty")
        if service.channel is not None and not CHANNEL.fullmatch(service.channel):
            sheet.say((*place, "channel"), "must be a channel's name in lower case, without #: write oracle-operators")
        found[service.name] = service
    return found


def _nodes(
    sheet: Sheet, top: Mapping[str, Tree], services: Mapping[str, Avs], networks: Sequence[str]
) -> dict[str, Node]:
    defaults = sheet.mapping(top.get("defaults"), ("defaults",), known=[k for k in _NODE if k not in {"name", "keys"}])
    found: dict[str, Node] = {}
    if not top.get("nodes"):
        sheet.say(("nodes",), "names no node: list each machine that signs with name, avs and keys")
    for place, entry in sheet.entries(top.get("nodes"), ("nodes",), name="name"):
        node = _node(sheet, _merged(sheet, defaults, entry, ("defaults",), place), place, networks)
        if node is None:
            continue
        _check_node(sheet, node, place, services)
        if node.name in found:
            sheet.say((*place, "name"), f"{node.name!r} is listed twice: give each node its own name")
        found[node.name] = node
    return found


def _merged(
    sheet: Sheet, defaults: Mapping[str, Tree], entry: Mapping[str, Tree], source: Place, place: Place
) -> dict[str, Tree]:
    """Return `entry` filled up from `defaults`; blocks are merged, so a node may write only the url of its signer."""
    merged = dict(entry)
    for key, value in defaults.items():
        own = entry.get(key)
        if key not in entry:
            waits_for_url = key in {"api", *_CAPABILITIES} and isinstance(value, dict) and "url" not in value
            if waits_for_url:
                continue
            merged[key] = value
        elif isinstance(value, dict) and isinstance(own, dict):
            merged[key] = _merged(sheet, value, own, (*source, key), (*place, key))
            continue
        else:
            continue
        sheet.stands_at((*place, key), (*source, key))
    return merged


def _node(sheet: Sheet, entry: dict[str, Tree], place: Place, networks: Sequence[str]) -> Node | None:
    known = {key: value for key, value in entry.items() if key not in {"api", *_CAPABILITIES}}
    for key in known:
        if key not in _NODE:
            sheet.say((*place, key), "is not known here" + did_you_mean(key, _NODE))
    fields = {key: value for key, value in known.items() if key in _NODE}
    reach, more = _reach(sheet, entry, place, networks)
    return sheet.read(Node, fields, place, reach=reach, more_recorders=more)


def _reach(
    sheet: Sheet, entry: dict[str, Tree], place: Place, networks: Sequence[str]
) -> tuple[dict[Capability, Endpoint], tuple[Endpoint, ...]]:
    """Return the endpoint of each capability, and the recorders after the first."""
    shared = sheet.mapping(entry.get("api"), (*place, "api"), known=_ENDPOINT)
    found: dict[Capability, Endpoint] = {}
    more: list[Endpoint] = []
    for capability in Capability:
        written = entry.get(capability)
        several = capability is Capability.RECORDER and isinstance(written, list)
        blocks = [((*place, str(capability)), written)]
        if several and isinstance(written, list):
            blocks = [((*place, str(capability), i), block) for i, block in enumerate(written)]
        for own_place, block in blocks:
            own = sheet.mapping(block, own_place)
            if not own and (several or not shared):
                continue
            filled = {} if several else shared  # each of several is another API: nothing is shared between them
            at = own_place if own else (*place, "api")
            for key in filled:
                if key not in own:
                    sheet.stands_at((*own_place, key), (*place, "api", key))
            line = sheet.line((*own_place, "options") if {"options"} <= {*own, *filled} else at)
            endpoint = sheet.read(Endpoint, {**filled, **own}, at, line=line)
            if endpoint is None:
                continue
            _check_endpoint(sheet, endpoint, at, networks)
            if capability in found:
                more.append(endpoint)
            else:
                found[capability] = endpoint
    return found, tuple(more)


def _check_endpoint(sheet: Sheet, endpoint: Endpoint, place: Place, networks: Sequence[str]) -> None:
    problem = url_problem(endpoint.url, networks)
    if problem:
        sheet.say((*place, "url"), problem)
    if not _DRIVER.fullmatch(endpoint.driver):
        sheet.say((*place, "driver"), "must be the name of a driver: write sidecar or keymanager, for example")
    if endpoint.token is not None and not REFERENCE.fullmatch(endpoint.token):
        sheet.say((*place, "token"), _TOKEN_REMEDY)
    if not timedelta() < endpoint.timeout <= _LONGEST_TIMEOUT:
        sheet.say((*place, "timeout"), "must be longer than 0 and at most 1m")
    for key in ("ca", "client_cert", "client_key"):
        path = getattr(endpoint, key)
        if path is not None and not path.startswith("/"):
            sheet.say((*place, key), "must be the absolute path of a PEM file")
    if (endpoint.client_cert is None) != (endpoint.client_key is None):
        sheet.say((*place, "client_cert"), "and client_key belong together: write both, or neither")
    for key, value in endpoint.options.items():
        if _SECRET.search(key) and not REFERENCE.fullmatch(value):
            sheet.say((*place, "options", key), _TOKEN_REMEDY)
        if _URL.match(value) and (wrong := url_problem(value, networks)):
            sheet.say((*place, "options", key), wrong)


def _check_node(sheet: Sheet, node: Node, place: Place, services: Mapping[str, Avs]) -> None:
    _check_name(sheet, node.name, place)
    if node.avs not in services:
        sheet.say((*place, "avs"), f"{node.avs!r} is not listed under avs" + did_you_mean(node.avs, services))
    if not node.keys:
        sheet.say((*place, "keys"), "is empty: list the keys that this node signs with")
    for i, key in enumerate(node.keys):
        if not _KEY.fullmatch(key):
            sheet.say((*place, "keys", i), f"{key[:40]!r} is not a key: {_key_remedy(key)}")
        elif same_key(key) in map(same_key, node.keys[:i]):
            sheet.say((*place, "keys", i), "is listed twice for this node: keep one")
    for label in node.labels:
        if label in {"name", "key"}:
            sheet.say((*place, "labels", label), "is reserved: alerts find nodes by name and key without it")
    if node.rollback is not None and not node.rollback.build_hash.startswith("sha256:"):
        sheet.say((*place, "rollback", "build_hash"), "must be an immutable build: write it as sha256:…")


def _key_remedy(key: str) -> str:
    """Return what to write instead of a text that is no key."""
    digits = key.removeprefix("0x")
    if re.fullmatch(r"(?:[0-9a-fA-F]{2})+", key, re.ASCII):
        return f"write 0x before it: 0x{key[:10]}{'…' if key[10:] else ''}"
    if re.fullmatch(r"[0-9a-fA-F]+", digits, re.ASCII):
        return f"it has {len(digits)} digits, and two make a byte: write all of the public key"
    return "write its public key as 0x and hexadecimal digits, without spaces or wildcards"


def _check_name(sheet: Sheet, name: str, place: Place) -> None:
    if not NAME.fullmatch(name):
        sheet.say((*place, "name"), "must be letters, digits, '.', '_' and '-', at most 63: write seq-01, for example")
    elif name.lower() in RESERVED:
        sheet.say((*place, "name"), f"{name!r} could be read as a wildcard: choose another name")


def _check_quorums(sheet: Sheet, written: Tree, inventory: Inventory) -> None:
    for place, entry in sheet.entries(written, ("avs",), name="name"):
        service = inventory.avs.get(str(entry.get("name")))
        count = len(inventory.of_avs(service.name)) if service else 0
        if service and 0 < count < service.quorum:
            sheet.say((*place, "quorum"), f"is more than the {count} nodes listed: lower it, or list them all")
