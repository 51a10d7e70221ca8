"""Whatever is done to a pack is found, and the first message names it; also after both manifests were made to fit."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain.checkpoint import Checkpoint, sign_checkpoint, sign_note, verifier_of
from bot.domain.leaf import canonical
from bot.domain.merkle import consistency_proof, inclusion_proof, nodes_of, root
from bot.vault import pack as form
from bot.vault.keys import both
from bot.vault.redaction import Redaction
from bot.vault.signer import CheckpointSigner
from bot.vault.verify import verify_folder
from tests.vault.conftest import KEY, OLDER, ORIGIN, record
from tests.vault.tampering import (
    Tamper,
    fit,
    item,
    lines,
    recorded,
    relined,
    replaced,
    there,
    valued,
    without,
    written,
)

FORGER = Ed25519PrivateKey.from_private_bytes(bytes(32))
UNSIGNED = "manifest-sha256.txt: it is not the one that was signed: its hash is"
NOTE = "\n— stopsign.example/ops "


def swap(one: str, two: str) -> Tamper:
    def tamper(pack: Path) -> None:
        first, second = (pack / one).read_bytes(), (pack / two).read_bytes()
        written(one, second)(pack)
        written(two, first)(pack)

    return tamper


def swap_items(pack: Path) -> None:
    one, two = item(pack, 1), item(pack, 2)
    swap(str(one.relative_to(pack)), str(two.relative_to(pack)))(pack)


def link_item(pack: Path) -> None:
    link(str(item(pack, 1).relative_to(pack)))(pack)


def link(name: str) -> Tamper:
    def tamper(pack: Path) -> None:
        (pack / name).rename(pack.parent / "moved")
        (pack / name).symlink_to(pack.parent / "moved")

    return tamper


def folder_for_item(pack: Path) -> None:
    item(pack, 1).unlink()
    (pack / "data/items" / ("1" * 64)).mkdir()


def keys_a_file(pack: Path) -> None:
    shutil.rmtree(pack / "data/keys")
    (pack / "data/keys").write_text("")


def unsealed(pack: Path) -> None:
    shutil.rmtree(pack / "seal")
    (pack / "tagmanifest-sha256.txt").unlink()


def without_older_keys(pack: Path) -> None:
    shutil.rmtree(pack / "data/keys")
    shutil.rmtree(pack / "data/anchors/tsa-8")


def stamped_elsewhere(pack: Path) -> None:
    """Put an anchor in whose timestamp is another checkpoint's."""
    folder = pack / "data/anchors/tsb-20"
    shutil.copytree(pack / "data/anchors/tsa-8", folder)
    for name in ("checkpoint.txt", "consistency.txt"):
        shutil.copy(pack / "data/anchors/host-20" / name, folder)
    about = json.loads((folder / "anchor.json").read_text()) | {"name": "tsb", "size": 20}
    (folder / "anchor.json").write_text(form.pretty(about))


def other_key(pack: Path) -> None:
    (pack / "data/vkey.txt").write_text(verifier_of(ORIGIN, FORGER).encode() + "\n")


def forged_checkpoint(pack: Path) -> None:
    """Sign everything anew with another key, as far as that goes without the log."""
    other_key(pack)
    for name in (form.CHECKPOINT, form.SEAL_CHECKPOINT):
        note = (pack / name).read_text()
        (pack / name).write_text(sign_checkpoint(Checkpoint.parse(note.rpartition("\n\n")[0] + "\n"), FORGER))
    fit(pack)
    manifest = hashlib.sha256((pack / form.MANIFEST).read_bytes()).hexdigest()
    (pack / form.NOTE).write_text(sign_note(form.manifest_text("inc-7", manifest), ORIGIN, FORGER))


def signed_twice(name: str) -> Tamper:
    def tamper(pack: Path) -> None:
        note = (pack / name).read_text()
        text = note.rpartition("\n\n")[0] + "\n"
        (pack / name).write_text(both(note, sign_note(text, ORIGIN, FORGER)))

    return tamper


def resigned(pack: Path) -> None:
    """Alter a document, make the manifests fit, and sign them with the log's own key: only the log tells."""
    written("data/custody.txt", b"nothing happened\n")(pack)
    fit(pack)
    manifest = hashlib.sha256((pack / form.MANIFEST).read_bytes()).hexdigest()
    (pack / form.NOTE).write_text(sign_note(form.manifest_text("inc-7", manifest), ORIGIN, KEY))


def reproof(shown: Any) -> None:
    shown["proof"] = shown["proof"][::-1]


def hide(name: str) -> Callable[[Any], None]:
    """Hide a field honestly: with its commitment, so that the leaf stays what it is."""

    def change(shown: Any) -> None:
        field = shown["fields"].pop(name)
        opened = bytes.fromhex(field["salt"]) + canonical({name: field["value"]}).encode()
        shown["redacted"][name] = hashlib.sha256(b"stopsign/field/v1\0" + opened).hexdigest()

    return change


def sealed(change: Callable[[Any], object]) -> Tamper:
    def tamper(pack: Path) -> None:
        shown = json.loads((pack / form.SEAL_RECORD).read_bytes())
        change(shown)
        (pack / form.SEAL_RECORD).write_text(canonical(shown) + "\n")

    return tamper


def double_name(pack: Path) -> None:
    relined(lambda rows: [rows[0].replace(b'"redacted":{}', b'"redacted":{},"redacted":{}'), *rows[1:]])(pack)


def deep(pack: Path) -> None:
    relined(lambda rows: [b"[" * 100_000 + b"]" * 100_000 + b"\n", *rows[1:]])(pack)


NOTE_5 = "data/records.jsonl line 5 (inc-7 record 5, NoteAdded): "
CONTENT_5 = f"{NOTE_5}its content is not in the log under the checkpoint"

RECORDS: dict[str, tuple[Tamper, str]] = {
    "a value flipped": (
        valued(2, "body.person", "eve"),
        "data/records.jsonl line 2 (inc-7 record 2, RoleTaken): its content is not in the log",
    ),
    "a time moved": (valued(5, "at", "2026-03-14T15:09:27.000000Z"), CONTENT_5),
    "an author changed": (valued(5, "by", "eve"), CONTENT_5),
    "a number changed": (valued(5, "n", 6), "line 5 (inc-7 record 6, NoteAdded): its content is not in the log"),
    "a salt changed": (recorded(5, lambda shown: shown["fields"]["by"].update(salt="0" * 64)), CONTENT_5),
    "a field added": (
        recorded(5, lambda shown: shown["fields"].update({"body.x": {"salt": "0" * 64, "value": 1}})),
        CONTENT_5,
    ),
    "a field dropped": (recorded(5, lambda shown: shown["fields"].pop("body.text")), CONTENT_5),
    "an envelope field dropped": (
        recorded(5, lambda shown: shown["fields"].pop("at")),
        "line 5: this is not a record: the record has no field 'at'",
    ),
    "a commitment forged": (
        recorded(5, lambda shown: shown["redacted"].update({"body.text": shown["fields"].pop("body.text")["salt"]})),
        CONTENT_5,
    ),
    "a field hidden afterwards": (
        recorded(5, hide("body.text")),
        f"{NOTE_5}body.text is hidden by no rule of the export. It was hidden after the export",
    ),
    "an author hidden afterwards": (recorded(5, hide("by")), f"{NOTE_5}by is hidden by no rule of the export"),
    "a leaf number changed": (recorded(5, lambda shown: shown.update(leaf=9)), CONTENT_5),
    "a leaf number beyond the tree": (
        recorded(5, lambda shown: shown.update(leaf=99)),
        f"{CONTENT_5}: there is no leaf 99",
    ),
    "a proof turned round": (recorded(5, reproof), CONTENT_5),
    "a proof cut": (
        recorded(5, lambda shown: shown["proof"].pop()),
        f"{CONTENT_5}: the inclusion proof is too short",
    ),
    "a proof of nonsense": (
        recorded(5, lambda shown: shown["proof"].append("x")),
        "line 5: this is not a record: a hash of `proof`",
    ),
    "a proof without end": (
        recorded(5, lambda shown: shown.update(proof=["0" * 64] * 65)),
        "line 5: this is not a record: `leaf`",
    ),
    "a record of another shape": (
        recorded(5, lambda shown: shown.update(more=1)),
        "line 5: this is not a record: it has not exactly",
    ),
    "a record dropped": (
        relined(lambda rows: rows[:4] + rows[5:]),
        "data/records.jsonl line 5: record 5 is missing here. Something was left out",
    ),
    "two records dropped": (
        relined(lambda rows: rows[:1] + rows[3:]),
        "data/records.jsonl line 2: records 2 to 3 are missing here",
    ),
    "the first record dropped": (relined(lambda rows: rows[1:]), "data/records.jsonl line 1: record 1 is missing here"),
    "an item's record dropped": (
        relined(lambda rows: rows[:5] + rows[6:]),
        "data/records.jsonl line 6: record 6 is missing here",
    ),
    "a record doubled": (
        relined(lambda rows: rows[:5] + rows[4:]),
        "data/records.jsonl line 6: record 5 stands here a second time",
    ),
    "two records exchanged": (
        relined(lambda rows: [*rows[:3], rows[4], rows[3], *rows[5:]]),
        "data/records.jsonl line 4: record 5 stands where record 4 belongs. The order was changed",
    ),
    "the order turned round": (
        relined(lambda rows: rows[::-1]),
        "data/records.jsonl line 1: record 14 stands where record 1 belongs",
    ),
    "a record moved to the end": (
        relined(lambda rows: [*rows[:2], *rows[3:], rows[2]]),
        "data/records.jsonl line 3: record 4 stands where record 3 belongs",
    ),
    "a forged record put in": (
        relined(lambda rows: [*rows[:4], rows[4].replace(b"first", b"worst"), *rows[4:]]),
        CONTENT_5,
    ),
    "a line of nonsense put in": (
        relined(lambda rows: [*rows[:4], b"nonsense\n", *rows[4:]]),
        "line 5: this is not a record: it is not JSON",
    ),
    "an empty line put in": (
        relined(lambda rows: [*rows[:4], b"\n", *rows[4:]]),
        "line 5: this is not a record: it is not JSON",
    ),
    "a line that is no text": (
        relined(lambda rows: [*rows[:4], b"\xff\n", *rows[4:]]),
        "line 5: this is not a record: it is not UTF-8",
    ),
    "a line nested without end": (deep, "line 1: this is not a record: it is nested too deeply"),
    "a number that is none": (
        relined(lambda rows: [*rows[:4], b"NaN\n", *rows[4:]]),
        "line 5: this is not a record: NaN is not JSON",
    ),
    "a name twice in an object": (double_name, "line 1: this is not a record: a name stands twice"),
    "a space put in": (
        relined(lambda rows: [rows[0].replace(b":", b": ", 1), *rows[1:]]),
        "line 1: this is not a record: it is not spelled as canonical JSON",
    ),
    "the last newline cut": (
        relined(lambda rows: [*rows[:-1], rows[-1][:-1]]),
        "line 14: this is not a record: it is not spelled as canonical JSON",
    ),
    "the last record cut": (
        relined(lambda rows: rows[:-1]),
        "data/records.jsonl: the last record is StepFinished, not EvidenceExported. The end of the incident was cut",
    ),
    "half the records cut": (
        relined(lambda rows: rows[:4]),
        "data/records.jsonl: the last record is EvidenceKept, not EvidenceExported",
    ),
    "all records cut": (relined(lambda _rows: []), "data/records.jsonl: the last record is missing"),
    "cut in the middle of a line": (relined(lambda rows: [*rows[:4], rows[4][:50]]), "line 5: this is not a record"),
    "the count changed": (
        valued(14, "body.records", 13),
        "line 14 (inc-7 record 14, EvidenceExported): its content is not in the log",
    ),
    "an item withheld afterwards": (
        valued(14, "body.withheld", [hashlib.sha256(b'{"key":"0xa1","digest":"0x01"}\n').hexdigest()]),
        "line 14 (inc-7 record 14, EvidenceExported): its content is not in the log",
    ),
}

ITEMS: dict[str, tuple[Tamper, str]] = {
    "an item flipped": (
        lambda pack: item(pack, 2).write_bytes(b"{}"),
        ": the content of ev-2 is not what data/records.jsonl line 4 (inc-7 record 4, EvidenceKept) names",
    ),
    "an item cut": (lambda pack: item(pack, 4).write_bytes(b"\x00"), ": the content of ev-4 is not what"),
    "an item emptied": (lambda pack: item(pack, 4).write_bytes(b""), ": the content of ev-4 is not what"),
    "an item missing": (
        lambda pack: item(pack, 2).unlink(),
        ": ev-2, which data/records.jsonl line 4 (inc-7 record 4, EvidenceKept) names, is missing. Evidence was left",
    ),
    "all items missing": (
        lambda pack: shutil.rmtree(pack / "data/items"),
        ": ev-1, which data/records.jsonl line 3 (inc-7 record 3, EvidenceKept) names, is missing",
    ),
    "two items exchanged": (swap_items, " is not what data/records.jsonl line "),
    "an item added": (
        written(f"data/items/{hashlib.sha256(b'x').hexdigest()}", b"x"),
        "items/2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881: no record names this item",
    ),
    "an expired item put back": (
        written(f"data/items/{hashlib.sha256(b'a line of log' + bytes([10])).hexdigest()}", b"a line of log\n"),
        ": ev-5 is here, but the records say that it was withheld or has expired",
    ),
    "an item linked": (link_item, ": it is a symbolic link"),
    "all items linked": (link("data/items"), "data/items: it is a symbolic link"),
    "a pipe among the items": (
        lambda pack: os.mkfifo(pack / "data/items" / ("0" * 64)),
        f"data/items/{'0' * 64}: it is not a plain file",
    ),
    "a folder in an item's place": (folder_for_item, f"data/items/{'1' * 64}: it is not a plain file"),
}

FILES: dict[str, tuple[Tamper, str]] = {
    "a file added": (
        written("extra.txt", b"x"),
        "extra.txt: it is not part of an evidence pack. It was put in after the export",
    ),
    "a file added to the payload": (written("data/extra.txt", b"x"), "data/extra.txt: it is not part of an"),
    "a file added to the seal": (written("seal/extra.txt", b"x"), "seal/extra.txt: it is not part of an"),
    "files to be fetched": (written("fetch.txt", b"http://x 1 data/y\n"), "fetch.txt: it is not part of an"),
    "another manifest": (written("manifest-md5.txt", b""), "manifest-md5.txt: it is not part of an"),
    "a hidden file added": (written(".hidden", b"x"), ".hidden: it is not part of an evidence pack"),
    "a folder added": (lambda pack: (pack / "more").mkdir(), "more: it is not a plain file"),
    "an empty folder of ours": (
        lambda pack: (pack / "data/anchors/late-1").mkdir(),
        "data/anchors/late-1: it is an empty folder. It was put in after the export",
    ),
    "a file in a folder's place": (
        keys_a_file,
        "data/keys: it is no folder",
    ),
    "a file added to the items": (written("data/items/readme", b"x"), "data/items/readme: it is not part of an"),
    "a name in capitals": (
        written("data/Records.jsonl", b"x"),
        "data/Records.jsonl: its name differs from data/records.jsonl only in case",
    ),
    "the guide in small letters": (written("verify.md", b"x"), "verify.md: its name differs from VERIFY.md only in"),
    "the items in capitals": (
        lambda pack: (pack / "data/ITEMS").mkdir(),
        "data/ITEMS: its name differs from data/items only in case",
    ),
    "an item in capitals": (written(f"data/items/{'A' * 64}", b"x"), "only in case"),
    "a name with a long s": (written("data/recordſ.jsonl", b"x"), "only in case"),
    "a name of control characters": (
        lambda pack: (pack / "a\x1b[2Jb\n").write_text("x"),
        "'a\\x1b[2Jb\\n': it is not part of",
    ),
    "a name that is no text": (
        lambda pack: open(os.fsencode(pack) + b"/\xff", "w").close(),
        "'\\udcff': it is not part of",
    ),
    "a name of 250 characters": (written("n" * 250, b"x"), "n: it is not part of"),
    "a path of 4 KB": (written("/".join(["n" * 250] * 15), b"x"), "n: it is not a plain file"),
    "the records linked": (link("data/records.jsonl"), "data/records.jsonl: it is a symbolic link"),
    "the payload linked": (link("data"), "data: it is a symbolic link"),
    "the seal linked": (link("seal"), "seal: it is a symbolic link"),
    "the manifest linked": (link("manifest-sha256.txt"), "manifest-sha256.txt: it is a symbolic link"),
    "a link to nowhere": (lambda pack: (pack / "data/x").symlink_to("/nowhere"), "data/x: it is a symbolic link"),
    **{f"{name} missing": (without(name), f"{name}: the file is missing") for name in sorted(form.NEVER_ABSENT)},
    "the seal missing": (
        unsealed,
        "seal: the pack has no seal. The export did not finish, or the seal was taken off",
    ),
}

HELD: dict[str, tuple[Tamper, str]] = {
    "the key exchanged": (other_key, "data/vkey.txt: it holds"),
    "the key spoiled": (replaced("data/vkey.txt", "+", "-"), "data/vkey.txt: the key"),
    "a second line after the key": (replaced("data/vkey.txt", "\n", "\n\n"), "data/vkey.txt: the key"),
    "key and signatures forged": (forged_checkpoint, "data/vkey.txt: it holds"),
    "the tree size changed": (
        replaced("data/checkpoint.txt", "\n28\n", "\n27\n"),
        "data/checkpoint.txt: the signature of stopsign.example/ops",
    ),
    "the origin changed": (
        replaced("data/checkpoint.txt", "stopsign", "stopsigm"),
        "data/checkpoint.txt: the signature of stopsign.example/ops",
    ),
    "the signature cut": (
        replaced("data/checkpoint.txt", "\n— ", "\n"),
        "data/checkpoint.txt: the signature line",
    ),
    "another signature added": (signed_twice("data/checkpoint.txt"), "data/checkpoint.txt: it has more than the key's"),
    "the checkpoint emptied": (
        written("data/checkpoint.txt", b""),
        "data/checkpoint.txt: a checkpoint is three lines",
    ),
    "the checkpoint no text": (written("data/checkpoint.txt", b"\xff"), "data/checkpoint.txt: it is not UTF-8 text"),
    "the checkpoint of the seal in its place": (
        swap("data/checkpoint.txt", "seal/checkpoint.txt"),
        "data/records.jsonl line 1 (inc-7 record 1, IncidentOpened): its content is not in the log",
    ),
    # older keys
    "an older key left out": (
        lambda pack: shutil.rmtree(pack / "data/keys/1"),
        "data/keys/1: it is missing, and a later one is there",
    ),
    "all older keys left out": (
        lambda pack: shutil.rmtree(pack / "data/keys"),
        "data/anchors/tsa-8/checkpoint.txt: the note is not signed by stopsign.example/ops",
    ),
    "an older key exchanged": (
        written("data/keys/1/vkey.txt", verifier_of(ORIGIN, FORGER).encode().encode() + b"\n"),
        "data/keys/1/checkpoint.txt: the note is not signed by stopsign.example/ops",
    ),
    "an older key spoiled": (written("data/keys/1/vkey.txt", b"key\n"), "data/keys/1/vkey.txt: "),
    "two older keys exchanged": (
        swap("data/keys/1/vkey.txt", "data/keys/2/vkey.txt"),
        "data/keys/2/checkpoint.txt: the note is not signed by",
    ),
    "a handover signed by the old key alone": (
        replaced("data/keys/1/checkpoint.txt", NOTE, "\n— another/log "),
        "data/keys/1/checkpoint.txt: the note is not signed by stopsign.example/ops",
    ),
    "a handover's proof cut": (
        written("data/keys/1/consistency.txt", b""),
        "data/keys/1/consistency.txt: it does not lead to data/checkpoint.txt",
    ),
    "a handover's checkpoint missing": (
        without("data/keys/2/checkpoint.txt"),
        "data/keys/2/checkpoint.txt: the file is missing",
    ),
    # anchors
    "two anchored checkpoints exchanged": (
        swap("data/anchors/host-20/checkpoint.txt", "data/anchors/tsa-8/checkpoint.txt"),
        "data/anchors/host-20/checkpoint.txt: it has 8 leaves, and its folder says otherwise",
    ),
    "an anchored checkpoint altered": (
        replaced("data/anchors/host-20/checkpoint.txt", "\n20\n", "\n21\n"),
        "data/anchors/host-20/checkpoint.txt: the ",
    ),
    "an anchor renamed": (
        lambda pack: (pack / "data/anchors/host-20").rename(pack / "data/anchors/hosts-20"),
        'data/anchors/hosts-20/anchor.json: it is about "host" and 20 leaves',
    ),
    "an anchor of another size": (
        lambda pack: (pack / "data/anchors/host-20").rename(pack / "data/anchors/host-21"),
        'data/anchors/host-21/anchor.json: it is about "host" and 20 leaves',
    ),
    "an anchor's kind changed": (
        replaced("data/anchors/tsa-8/anchor.json", "rfc3161", "http"),
        "data/anchors/tsa-8/proof.json: the file is missing",
    ),
    "an anchor's proof missing": (
        without("data/anchors/host-20/proof.json"),
        "data/anchors/host-20/proof.json: the file is missing",
    ),
    "a second proof beside an anchor's": (
        written("data/anchors/host-20/token.tsr", b""),
        "data/anchors/host-20/token.tsr: an anchor of kind http has no such proof",
    ),
    "an anchor's proof no JSON": (
        written("data/anchors/host-20/proof.json", b"{"),
        "data/anchors/host-20/proof.json: it is not JSON",
    ),
    "an anchor's consistency spoiled": (
        written("data/anchors/host-20/consistency.txt", b"00\n"),
        "data/anchors/host-20/consistency.txt: it is not a list of hashes",
    ),
    "a timestamp spoiled": (written("data/anchors/tsa-8/token.tsr", b"0"), "data/anchors/tsa-8/token.tsr: "),
    "a timestamp for another anchor": (
        stamped_elsewhere,
        "data/anchors/tsb-20/token.tsr: the timestamp is for another content",
    ),
}

DERIVED: dict[str, tuple[Tamper, str]] = {
    "the table changed": (
        replaced("data/pack.json", '"collector": "bot"', '"collector": "eve"'),
        "data/pack.json: it is not what the records say: client 1 collector is 'eve', not 'bot'",
    ),
    "a chain changed": (
        replaced("data/pack.json", "0xabab", "0xabac"),
        "data/pack.json: it is not what the records say: slashing_protection 1 interchange genesis_validators_root is",
    ),
    "a release changed": (
        replaced("data/pack.json", "sha256:b1", "sha256:b2"),
        "data/pack.json: it is not what the records say: client 1 release build_hash is 'sha256:b2'",
    ),
    "the table emptied": (
        written("data/pack.json", b"{}\n"),
        "data/pack.json: it is not what the records say: access is there, but not listed",
    ),
    "the table spoiled": (
        written("data/pack.json", b"{"),
        "data/pack.json: it is not what the records say: it is not JSON",
    ),
    "the table respaced": (
        replaced("data/pack.json", "\n", "\n\n"),
        "data/pack.json: it is not what the records say: it is spelled differently",
    ),
    "the guide changed": (
        replaced("VERIFY.md", "openssl", "opensss"),
        "VERIFY.md: its text is none that Stopsign ever wrote",
    ),
    "the declaration changed": (
        replaced("bagit.txt", "1.0", "0.97"),
        "bagit.txt: its line 1 is 'BagIt-Version: 0.97', not 'BagIt-Version: 1.0'",
    ),
    "another agent": (
        replaced("bag-info.txt", "Stopsign\n", "Stopsigh\n"),
        "bag-info.txt: its line 4 is 'Bag-Software-Agent: Stopsigh'",
    ),
    "another incident in the bag's head": (
        replaced("bag-info.txt", "inc-7", "inc-8"),
        "bag-info.txt: its line 1 is 'External-Identifier: inc-8', not 'External-Identifier: inc-7'",
    ),
    "another key in the bag's head": (
        replaced("bag-info.txt", "Stopsign-Key: s", "Stopsign-Key: t"),
        "bag-info.txt: its line 6 is",
    ),
    "a line more in the bag's head": (
        lambda pack: (pack / "bag-info.txt").write_text((pack / "bag-info.txt").read_text() + "More: x\n"),
        "bag-info.txt: its line 7 is 'More: x', not ''",
    ),
}

SEAL: dict[str, tuple[Tamper, str]] = {
    "the note's signature spoiled": (
        replaced("seal/manifest.note", "U", "V"),
        "seal/manifest.note: the ",
    ),
    "another signature under the note": (
        signed_twice("seal/manifest.note"),
        "seal/manifest.note: it has more than the key's own signature",
    ),
    "another signature under the seal's tree": (
        signed_twice("seal/checkpoint.txt"),
        "seal/checkpoint.txt: it has more than the key's own signature",
    ),
    "the note about another incident": (
        written("seal/manifest.note", sign_note(form.manifest_text("inc-8", "0" * 64), ORIGIN, KEY).encode()),
        UNSIGNED,
    ),
    "a checkpoint for a note": (
        lambda pack: shutil.copy(pack / "seal/checkpoint.txt", pack / "seal/manifest.note"),
        UNSIGNED,
    ),
    "the note for a checkpoint": (
        lambda pack: shutil.copy(pack / "seal/manifest.note", pack / "seal/checkpoint.txt"),
        "seal/checkpoint.txt: the tree size 'inc-7' is not a decimal number",
    ),
    "the seal's record altered": (
        sealed(lambda shown: shown["fields"]["by"].update(value="eve")),
        "seal/record.json: its content is not in the log under the checkpoint",
    ),
    "the seal's author hidden": (sealed(hide("by")), "seal/record.json: its fields are not hidden as the export's"),
    "the seal's record respaced": (
        replaced("seal/record.json", ":", ": "),
        "seal/record.json: this is not a record: it is not spelled as canonical JSON",
    ),
    "another record for a seal": (
        lambda pack: (pack / "seal/record.json").write_bytes(lines(pack)[0]),
        "seal/record.json: its content is not in the log under the checkpoint",
    ),
    "the seal's proof cut": (
        sealed(lambda shown: shown["proof"].pop()),
        "seal/record.json: its content is not in the log under the checkpoint: the inclusion proof is too short",
    ),
    "the seal's consistency cut": (
        written("seal/consistency.txt", b""),
        "seal/consistency.txt: seal/checkpoint.txt does not continue data/checkpoint.txt",
    ),
    "the seal's consistency in capitals": (
        lambda pack: (pack / "seal/consistency.txt").write_text((pack / "seal/consistency.txt").read_text().upper()),
        "seal/consistency.txt: it is not a list of hashes",
    ),
    "the payload's checkpoint for the seal's": (
        lambda pack: shutil.copy(pack / "data/checkpoint.txt", pack / "seal/checkpoint.txt"),
        "seal/consistency.txt: seal/checkpoint.txt does not continue data/checkpoint.txt",
    ),
    "manifests signed anew with the log's key": (resigned, "seal/record.json: it seals the manifest"),
}

ALL = RECORDS | ITEMS | FILES | HELD | DERIVED | SEAL

UNLISTED: dict[str, tuple[Tamper, str]] = {
    "a document altered": (written("data/custody.txt", b"x"), "data/custody.txt: its hash is"),
    "a document missing": (without("data/timeline.html"), "data/timeline.html: it is not there, but manifest-sha256"),
    "an anchor left out": (
        lambda pack: shutil.rmtree(pack / "data/anchors/room-28"),
        "data/anchors/room-28/anchor.json: it is not there, but manifest-sha256.txt lists it",
    ),
    "all anchors left out": (lambda pack: shutil.rmtree(pack / "data/anchors"), "data/anchors/host-20/anchor.json: it"),
    "all older keys left out, and what they signed": (
        without_older_keys,
        "data/anchors/tsa-8/anchor.json: it is not there",
    ),
    "an anchor's time changed": (
        replaced("data/anchors/host-20/anchor.json", "2026", "2025"),
        "data/anchors/host-20/anchor.json: its hash is",
    ),
    "an anchor's proof changed": (
        written("data/anchors/host-20/proof.json", b"{}"),
        "data/anchors/host-20/proof.json: its hash is",
    ),
}
"""What only the manifest can tell: when that was made to fit, the seal tells."""

LISTS: dict[str, tuple[Tamper, str]] = {
    "a line of the manifest dropped": (
        lambda pack: relisted(pack, lambda rows: rows[1:]),
        "data/anchors/host-20/anchor.json: manifest-sha256.txt does not list it",
    ),
    "a line of the manifest doubled": (
        lambda pack: relisted(pack, lambda rows: [rows[0], *rows]),
        "manifest-sha256.txt line 2: it is not the SHA-256 and path of one more file",
    ),
    "a line of nonsense in the manifest": (
        lambda pack: relisted(pack, lambda rows: ["nonsense\n", *rows]),
        "manifest-sha256.txt line 1: it is not the SHA-256 and path of one more file",
    ),
    "the manifest in another order": (
        lambda pack: relisted(pack, lambda rows: rows[::-1]),
        "manifest-sha256.txt: it does not describe the files, in order and spelling of BagIt",
    ),
    "a file outside listed": (
        lambda pack: relisted(pack, lambda rows: [*rows, f"{'0' * 64}  ../../etc/passwd\n"]),
        "../../etc/passwd: it is not there, but manifest-sha256.txt lists it",
    ),
    "an absolute file listed": (
        lambda pack: relisted(pack, lambda rows: [*rows, f"{'0' * 64}  /etc/passwd\n"]),
        "/etc/passwd: it is not there, but manifest-sha256.txt lists it",
    ),
    "a tag left out of its manifest": (
        lambda pack: relisted(pack, lambda rows: rows[1:], "tagmanifest-sha256.txt"),
        "VERIFY.md: tagmanifest-sha256.txt does not list it",
    ),
    "a tag's hash changed": (
        lambda pack: relisted(
            pack, lambda rows: [rows[0][:63][::-1] + rows[0][63:], *rows[1:]], "tagmanifest-sha256.txt"
        ),
        "VERIFY.md: its hash is",
    ),
    "a tag listed that is not there": (
        lambda pack: relisted(pack, lambda rows: [*rows, f"{'0' * 64}  x\n"], "tagmanifest-sha256.txt"),
        "x: it is not there, but tagmanifest-sha256.txt lists it",
    ),
    "the tag manifest emptied": (
        lambda pack: relisted(pack, lambda _rows: [], "tagmanifest-sha256.txt"),
        "VERIFY.md: tagmanifest-sha256.txt does not list it",
    ),
}


def relisted(pack: Path, change: Callable[[list[str]], list[str]], name: str = "manifest-sha256.txt") -> None:
    rows = (pack / name).read_text().splitlines(keepends=True)
    (pack / name).write_text("".join(change(rows)))


@pytest.mark.parametrize("fitted", [False, True], ids=["plain", "manifests made to fit"])
@pytest.mark.parametrize("name", ALL)
def test_every_tampering_is_found_and_named_first(
    rich: Any, pack: Path, authority: Any, name: str, fitted: bool
) -> None:
    tamper, says = ALL[name]
    tamper(pack)
    if fitted:
        fit(pack)
    report = verify_folder(pack, vkey=rich.vkey, roots=authority.roots.read_bytes())
    assert not report.ok
    assert says in str(report.first), report.lines()
    assert report.lines()[0].startswith(f"{pack}: NOT intact: ")


@pytest.mark.parametrize("fitted", [False, True], ids=["plain", "manifests made to fit"])
@pytest.mark.parametrize("name", UNLISTED)
def test_what_only_the_manifest_tells_is_found_and_told_by_the_seal_when_that_was_made_to_fit(
    rich: Any, pack: Path, name: str, fitted: bool
) -> None:
    tamper, says = UNLISTED[name]
    tamper(pack)
    if fitted:
        fit(pack)
    report = verify_folder(pack, vkey=rich.vkey)
    assert (UNSIGNED if fitted else says) in str(report.first), report.lines()


@pytest.mark.parametrize("name", LISTS)
def test_every_lie_of_the_manifests_is_found(rich: Any, pack: Path, name: str) -> None:
    tamper, says = LISTS[name]
    tamper(pack)
    assert says in str(verify_folder(pack, vkey=rich.vkey).first)


# ---- other histories, other packs ------------------------------------------------------------------------------------


def forked(rich: Any) -> Any:
    """Return the log as its own key could have signed it with another first record of inc-8."""
    rows = list(rich.records)
    rows[1] = record("inc-8", 1, 1, "NoteTaken", {"text": "something else"})
    return replace(rich, records=rows)


@pytest.mark.parametrize("fitted", [False, True], ids=["plain", "manifests made to fit"])
@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("data/checkpoint.txt", 28, "line 1 (inc-7 record 1, IncidentOpened): its content is not in the log"),
        ("data/anchors/host-20/checkpoint.txt", 20, "host-20/consistency.txt: it does not lead to data/checkpoint.txt"),
        ("data/anchors/room-28/checkpoint.txt", 28, "room-28/consistency.txt: it does not lead to data/checkpoint.txt"),
    ],
)
def test_another_history_signed_by_the_same_key_is_found(
    rich: Any, pack: Path, name: str, size: int, says: str, fitted: bool
) -> None:
    (pack / name).write_text(forked(rich).sign(size))
    if fitted:
        fit(pack)
    first = verify_folder(pack, vkey=rich.vkey).first
    assert says in str(first)


def test_a_seal_in_another_history_is_found(rich: Any, pack: Path) -> None:
    """The forger has the log's key and signs a fork with a seal of its own; only the consistency proof tells."""
    manifest = hashlib.sha256((pack / "manifest-sha256.txt").read_bytes()).hexdigest()
    seal = record("inc-7", 15, 28, "EvidenceSealed", {"exported": 14, "manifest": manifest})
    fork = forked(rich)
    fork.records.append(seal)
    nodes = nodes_of(fork.hashes())
    shown = form.shown_record(seal, inclusion_proof(28, 29, nodes), Redaction())
    (pack / "seal/record.json").write_text(form.line_of(shown))
    (pack / "seal/checkpoint.txt").write_text(fork.sign(29))
    (pack / "seal/consistency.txt").write_text(form.hashes_text(consistency_proof(28, 29, nodes)))
    fit(pack)
    first = verify_folder(pack, vkey=rich.vkey).first
    assert "seal/consistency.txt: seal/checkpoint.txt does not continue data/checkpoint.txt" in str(first)
    assert "The log was forked" in str(first)


@pytest.mark.parametrize("fitted", [False, True], ids=["plain", "manifests made to fit"])
def test_a_timestamp_of_another_pack_is_found(
    rich: Any, pack: Path, authority: Any, tmp_path: Path, fitted: bool
) -> None:
    other = replace(forked(rich))
    note = other.sign(20)
    anchored = replace(rich.anchors[0], size=20, note=note, proof=authority.stamp(note.encode()))
    other.anchors, other.keys, other.checkpoints = (
        [replace(anchored, consistency=other.consistency(20))],
        [],
        [other.sign(28)],
    )
    second = other.export(tmp_path / "second")
    assert verify_folder(second, vkey=rich.vkey, roots=authority.roots.read_bytes()).ok
    shutil.copy(second / "data/anchors/tsa-20/token.tsr", pack / "data/anchors/tsa-8/token.tsr")
    if fitted:
        fit(pack)
    for roots in (None, authority.roots.read_bytes()):
        first = verify_folder(pack, vkey=rich.vkey, roots=roots).first
        assert "data/anchors/tsa-8/token.tsr: the timestamp is for another content" in str(first)


@pytest.mark.parametrize("fitted", [False, True], ids=["plain", "manifests made to fit"])
@pytest.mark.parametrize(
    ("part", "says"),
    [
        ("data/anchors", "data/anchors/host-20/consistency.txt: it does not lead to data/checkpoint.txt"),
        ("data/keys", "data/keys/1/consistency.txt: it does not lead to data/checkpoint.txt"),
        ("seal", "seal/consistency.txt: seal/checkpoint.txt does not continue data/checkpoint.txt"),
    ],
)
def test_parts_of_another_pack_are_found(
    rich: Any, pack: Path, tmp_path: Path, part: str, says: str, fitted: bool
) -> None:
    other = forked(rich)
    other.anchors = [
        replace(a, note=other.sign(a.size), consistency=other.consistency(a.size)) for a in rich.anchors[1:]
    ]
    other.keys = []
    for rotated, at, keys in zip(rich.keys, (5, 11), (rich.oldest(0), rich.oldest(1)), strict=True):
        assert keys.encode() == rotated.was
        point = Checkpoint(origin=ORIGIN, size=at, root=root(other.hashes()[:at]))
        notes = [sign_checkpoint(point, key) for key in signers(at)]
        other.keys.append(replace(rotated, note=both(*notes), consistency=other.consistency(at)))
    other.checkpoints = [other.sign(28)]
    second = other.export(tmp_path / "second")
    assert verify_folder(second, vkey=rich.vkey).ok
    shutil.rmtree(pack / part)
    shutil.copytree(second / part, pack / part)
    if fitted:
        fit(pack)
    first = next(p for p in verify_folder(pack, vkey=rich.vkey).problems if "manifest-sha256" not in p.where)
    assert says in str(first)


def signers(at: int) -> list[Ed25519PrivateKey]:
    return [OLDER[0], OLDER[1]] if at == 5 else [OLDER[1], KEY]


def test_a_record_of_another_incident_does_not_pass(rich: Any, pack: Path) -> None:
    row, proof = rich.proven("inc-8")[4]
    shown = form.shown_record(row, proof, Redaction())
    relined(lambda rows: [*rows[:4], form.line_of(shown).encode(), *rows[5:]])(pack)
    first = verify_folder(pack, vkey=rich.vkey).first
    assert "line 5 (inc-8 record 5, NoteTaken): it does not belong to inc-7" in str(first)


def test_an_older_checkpoint_does_not_cover_the_records(rich: Any, pack: Path) -> None:
    (pack / "data/checkpoint.txt").write_text(rich.sign(20))
    fit(pack)
    first = verify_folder(pack, vkey=rich.vkey).first
    assert "line 1 (inc-7 record 1, IncidentOpened): its content is not in the log under the checkpoint" in str(first)


def test_without_the_key_from_elsewhere_a_forged_history_is_found_by_what_the_log_signed(pack: Path) -> None:
    forged_checkpoint(pack)
    fit(pack)
    report = verify_folder(pack)
    assert "compare it with a copy from elsewhere" in report.notes[0]
    assert "data/keys/2/checkpoint.txt: the note is not signed by stopsign.example/ops" in str(report.first)


def test_a_pack_without_keys_and_anchors_that_was_forged_as_a_whole_is_all_that_passes(
    rich: Any, tmp_path: Path
) -> None:
    """Key, tree and seal are another's: only the key from elsewhere tells."""
    forger = replace(rich, signer=CheckpointSigner(ORIGIN, FORGER), key=FORGER, keys=[], anchors=[])
    forger.checkpoints = [forger.sign(28)]
    forged = forger.export(tmp_path / "forged")
    assert verify_folder(forged).ok
    assert "data/vkey.txt: it holds" in str(verify_folder(forged, vkey=rich.vkey).first)


def test_naming_an_older_key_does_not_make_a_forgers_key_its_heir(rich: Any, tmp_path: Path) -> None:
    """The pack is the forger's as a whole; the key that was given stands in data/keys, and never handed over."""
    forger = replace(rich, signer=CheckpointSigner(ORIGIN, FORGER), key=FORGER, keys=[], anchors=[])
    forger.checkpoints = [forger.sign(28)]
    honest = forger.export(tmp_path / "forged")
    folder = honest / "data/keys/1"
    folder.mkdir(parents=True)
    (folder / "vkey.txt").write_text(f"{rich.vkey}\n")
    (folder / "consistency.txt").write_text(form.hashes_text(rich.consistency(20)))
    for note in (forger.sign(20), rich.sign(20)):
        (folder / "checkpoint.txt").write_text(note)
        fit(honest)
        manifest = hashlib.sha256((honest / form.MANIFEST).read_bytes()).hexdigest()
        (honest / form.NOTE).write_text(sign_note(form.manifest_text("inc-7", manifest), ORIGIN, FORGER))
        fit(honest)
        first = verify_folder(honest, vkey=rich.vkey).first
        assert "data/keys/1/checkpoint.txt: the note is not signed by" in str(first)


# ---- the report ------------------------------------------------------------------------------------------------------


def test_all_that_is_wrong_is_listed(rich: Any, pack: Path) -> None:
    FILES["a file added"][0](pack)
    RECORDS["a value flipped"][0](pack)
    ITEMS["an item missing"][0](pack)
    SEAL["the seal's consistency cut"][0](pack)
    wheres = [problem.where.split(" ")[0] for problem in verify_folder(pack, vkey=rich.vkey).problems]
    missing = next(where for where in wheres if where.startswith("data/items/"))
    assert wheres == [
        *("extra.txt", "data/records.jsonl", missing, "data/records.jsonl", "seal/consistency.txt"),
        "bag-info.txt",
    ]


def test_without_any_key_the_rest_is_still_checked(pack: Path) -> None:
    (pack / "data/vkey.txt").unlink()
    RECORDS["a value flipped"][0](pack)
    wheres = [problem.where for problem in verify_folder(pack).problems]
    assert wheres[:2] == ["data/vkey.txt", "data/records.jsonl line 2 (inc-7 record 2, RoleTaken)"]


@pytest.mark.parametrize("depth", [*range(880, 1000, 3), 100_000])
def test_no_depth_of_nesting_breaks_the_verifier(rich: Any, pack: Path, depth: int) -> None:
    nested = '{"schema":' + "[" * depth + "]" * depth + "}"
    for name in ("data/pack.json", "data/anchors/host-20/anchor.json", "data/anchors/host-20/proof.json"):
        (pack / name).write_text(nested)
    assert "data/pack.json: it is not what the records say" in str(verify_folder(pack, vkey=rich.vkey).first)


@pytest.mark.parametrize("kind", ["nowhere", "file", "link", "empty"])
def test_what_is_no_folder_is_no_evidence(pack: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "file":
        path.write_text("")
    if kind == "link":
        path.symlink_to(pack)
    if kind == "empty":
        path.mkdir()
    report = verify_folder(path)
    assert not report.ok
    assert ("cannot be read as a folder" in str(report.first)) == (kind != "empty")


# ---- whatever else ---------------------------------------------------------------------------------------------------

COMMON = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def unchanged(pack: Path, honest: dict[str, bytes]) -> bool:
    """Tell whether there is, file by file and byte by byte, what was exported, and nothing beside it."""
    odd = [path for path in pack.rglob("*") if path.is_symlink() or not (path.is_file() or any(path.iterdir()))]
    return there(pack) == honest and not odd


def judged(rich: Any, pack: Path, honest: dict[str, bytes], data: st.DataObject) -> None:
    """Any change is found, whether or not the manifests were made to fit; no change is not."""
    if data.draw(st.booleans(), "fitted"):
        fit(pack)
    report = verify_folder(pack, vkey=rich.vkey)
    assert report.ok == unchanged(pack, honest), report.lines()


def copied(pack: Path) -> Path:
    target = pack.parent / "copy"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(pack, target, copy_function=shutil.copyfile)
    return target


@COMMON
@given(data=st.data())
def test_no_byte_can_be_changed_anywhere(rich: Any, pack: Path, data: st.DataObject) -> None:
    honest, copy = there(pack), copied(pack)
    path = data.draw(st.sampled_from(sorted(name for name, content in honest.items() if content)))
    old = honest[path]
    place = data.draw(st.integers(0, len(old) - 1))
    new = data.draw(st.sampled_from(["flip", "drop", "insert", "cut"]))
    byte = bytes([data.draw(st.integers(0, 255))])
    changed = {
        "flip": old[:place] + byte + old[place + 1 :],
        "drop": old[:place] + old[place + 1 :],
        "insert": old[:place] + byte + old[place:],
        "cut": old[:place],
    }[new]
    (copy / path).write_bytes(changed)
    judged(rich, copy, honest, data)


@COMMON
@given(data=st.data())
def test_no_line_can_be_moved_doubled_or_dropped(rich: Any, pack: Path, data: st.DataObject) -> None:
    honest, copy = there(pack), copied(pack)
    texts = sorted(name for name, content in honest.items() if content.count(b"\n") > 1)
    path = data.draw(st.sampled_from(texts))
    rows = honest[path].splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 3))):
        one, two = (data.draw(st.integers(0, max(len(rows) - 1, 0))) for _ in range(2))
        how = data.draw(st.sampled_from(["swap", "double", "drop", "borrow"]))
        if how == "swap" and rows:
            rows[one], rows[two] = rows[two], rows[one]
        elif how == "double" and rows:
            rows.insert(two, rows[one])
        elif how == "drop" and rows:
            del rows[one]
        elif how == "borrow":
            other = honest[data.draw(st.sampled_from(texts))].splitlines(keepends=True)
            rows.insert(one, data.draw(st.sampled_from(other)))
    (copy / path).write_bytes(b"".join(rows))
    judged(rich, copy, honest, data)


NAMES = st.sampled_from(
    [
        *form.NEVER_ABSENT,
        *("data/items/" + "0" * 64, "data/custody.txt", "data/keys/3/vkey.txt", "data/anchors/host-21/proof.json"),
        *("data/anchors/tsa-8/proof.json", "data/x", "seal/x", "x", "VERIFY.MD", "data/items/x", "fetch.txt"),
    ]
)


@COMMON
@given(data=st.data())
def test_no_file_can_be_added_moved_or_taken_away(rich: Any, pack: Path, data: st.DataObject) -> None:
    honest, copy = there(pack), copied(pack)
    for _ in range(data.draw(st.integers(1, 3))):
        paths = sorted(there(copy))
        one, two = data.draw(st.sampled_from(paths)), data.draw(st.sampled_from(paths) | NAMES)
        how = data.draw(st.sampled_from(["remove", "rename", "copy", "swap", "empty", "link", "folder"]))
        (copy / two).parent.mkdir(parents=True, exist_ok=True)
        if how == "remove":
            (copy / one).unlink()
        elif how == "rename":
            os.replace(copy / one, copy / two)
        elif how == "copy" and one != two:
            shutil.copyfile(copy / one, copy / two)
        elif how == "swap" and (copy / two).exists():
            swap(one, two)(copy)
        elif how == "empty":
            (copy / two).write_bytes(b"")
        elif how == "link" and not (copy / two).exists():
            (copy / two).symlink_to(copy / one)
        elif how == "folder" and not (copy / two).exists():
            (copy / two).mkdir()
            break
    judged(rich, copy, honest, data)
