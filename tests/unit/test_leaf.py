"""The leaf format: its frozen vectors, its equality with RFC 8785, its corner cases and redaction."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum, StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.leaf import (
    ENVELOPE,
    MAX_DEPTH,
    NEVER_REDACTED,
    JournalRecord,
    Json,
    LeafError,
    canonical,
    fields_of,
    leaf_hash,
    leaf_hash_of_revealed,
    reveal,
    timestamp,
)

AT = datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC)
SALT = bytes(range(32))
BODY: dict[str, Json] = {"role": "ic", "person": "ada", "because": "on-call"}

TEXT = st.text(st.characters(codec="utf-8"))
NUMBER = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-(2.0**53) + 1, 2.0**53 - 1)
VALUE = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
RECORD = st.builds(
    fields_of,
    incident=TEXT.filter(bool),
    n=st.integers(1, 2**53 - 1),
    at=st.datetimes(timezones=st.just(UTC), min_value=datetime(1900, 1, 1)),  # noqa: DTZ001  the strategy adds the zone
    kind=TEXT.filter(bool),
    by=TEXT,
    body=st.dictionaries(TEXT.filter(bool), VALUE, max_size=5),
)


def record(**changes: Any) -> dict[str, Json]:
    whole = {"incident": "inc-7", "n": 3, "at": AT, "kind": "RoleTaken", "by": "ada", "body": BODY, **changes}
    return fields_of(**whole)


def by_the_book(flat: Mapping[str, Json], salt: bytes) -> bytes:
    """The format as docs/evidence.md writes it, with the library's HMAC and rfc8785 and nothing of ours."""
    commitments = {}
    for name, value in flat.items():
        salt_f = hmac.digest(salt, b"stopsign/salt/v1\x00" + name.encode(), "sha256")
        shown: Any = {name: value}
        commitments[name] = hashlib.sha256(b"stopsign/field/v1\x00" + salt_f + rfc8785.dumps(shown)).hexdigest()
    return hashlib.sha256(b"\x00" + b"stopsign/leaf/v1\x00" + rfc8785.dumps(dict(commitments))).digest()


@pytest.mark.parametrize(
    ("flat", "expected"),
    [
        (record(), "fc8bdf58007f94e50d0f5943cf0b07bb378904b9642fe53a602932d49a008dc3"),
        (
            record(body={}, by="", n=1, incident="stopsign", kind="Started"),
            "3061c226f3779ab168066c1c7456f1e74c3446284499df7405e4244167015688",
        ),
        (
            record(
                body={
                    "é": '€$\u000f\nA\'B"\\\\"/',
                    "\ufb33": [1, -0.0, 4.5, 2e-3, 1e-27, True, False, None],
                    "\U0001f600": {"\U0001f600": 1, "\ufb33": 2, "a": {}},
                    "empty": [],
                }
            ),
            "6d510af3b12c703092afa661340fa5beb5092734cebab3624101e4036003b251",
        ),
    ],
    ids=["a role", "an empty body", "what sorts and escapes strangely"],
)
def test_the_format_never_changes(flat: dict[str, Json], expected: str) -> None:
    assert leaf_hash(flat, SALT).hex() == expected
    assert by_the_book(flat, SALT).hex() == expected


@settings(deadline=None)
@given(RECORD, st.binary(min_size=32, max_size=32))
def test_every_record_hashes_as_the_document_says(flat: dict[str, Json], salt: bytes) -> None:
    assert leaf_hash(flat, salt) == by_the_book(flat, salt)


@settings(deadline=None)
@given(VALUE)
def test_canonical_is_rfc8785(value: Any) -> None:
    assert canonical(value).encode() == rfc8785.dumps(value)


@settings(deadline=None)
@given(RECORD)
def test_a_json_round_trip_keeps_the_hash(flat: dict[str, Json]) -> None:
    assert leaf_hash(json.loads(json.dumps(flat)), SALT) == leaf_hash(flat, SALT)


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=20), st.sampled_from([chr(c) for c in range(0xA0)]))
def test_every_control_character_is_escaped_as_rfc8785(text: str, char: str) -> None:
    assert canonical(text + char).encode() == rfc8785.dumps(text + char)


@settings(deadline=None)
@given(RECORD, st.data())
def test_a_redacted_record_keeps_its_leaf(flat: dict[str, Json], data: st.DataObject) -> None:
    may = sorted(flat.keys() - NEVER_REDACTED)
    hidden = data.draw(st.sets(st.sampled_from(may)))
    shown = json.loads(json.dumps(reveal(flat, SALT, redact=hidden)))
    assert leaf_hash_of_revealed(shown) == leaf_hash(flat, SALT)
    assert shown["redacted"].keys() == hidden
    assert shown["fields"].keys() == flat.keys() - hidden


def test_a_redacted_value_and_the_records_salt_are_not_in_the_export() -> None:
    shown = json.dumps(reveal(record(), SALT, redact={"body.person", "by"}))
    assert '"ada"' not in shown
    assert SALT.hex() not in shown


def test_the_same_value_has_another_commitment_in_another_record() -> None:
    one = reveal(record(), SALT, redact=["by"])["redacted"]
    two = reveal(record(), bytes(32), redact=["by"])["redacted"]
    assert one != two


@pytest.mark.parametrize("name", sorted(record()))
def test_every_field_changes_the_leaf(name: str) -> None:
    other: dict[str, Json] = {"v": 1, "n": 4, "at": "2026-03-14T15:09:26.535898Z"}
    changed = record() | {name: other.get(name, "other")}
    same = name == "v"
    assert (leaf_hash(changed, SALT) == leaf_hash(record(), SALT)) is same


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    ONE = 1


def test_enumerations_and_tuples_hash_as_what_json_makes_of_them() -> None:
    ours = record(body={"colour": Colour.RED, "level": Level.ONE, "pair": (1, 2)})
    plain = record(body={"colour": "red", "level": 1, "pair": [1, 2]})
    assert leaf_hash(ours, SALT) == leaf_hash(plain, SALT)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (2**53, "beyond ±(2^53-1)"),
        (-(2**53), "beyond ±(2^53-1)"),
        (2.0**53, "beyond ±(2^53-1)"),
        (float("nan"), "not a number"),
        (float("-inf"), "beyond ±(2^53-1)"),
        ("\ud800", "lone surrogate"),
        ({"\ud800": 1}, "lone surrogate"),
        ({1: 2}, "keys are not all strings"),
        ({1: 2, "a": 3}, "keys are not all strings"),
        (AT, "datetime is not a JSON value"),
        (b"x", "bytes is not a JSON value"),
        ({1, 2}, "set is not a JSON value"),
        (nested(MAX_DEPTH + 1), "nested deeper than 64"),
    ],
)
def test_what_cannot_be_a_value_is_refused_by_name(value: Any, says: str) -> None:
    with pytest.raises(LeafError, match=r"'body\.x'") as caught:
        leaf_hash(record(body={"x": value}), SALT)
    assert says in str(caught.value)


@pytest.mark.parametrize("value", [2**53 - 1, -(2**53) + 1, float(2**53 - 1), "\x00", nested(MAX_DEPTH)])
def test_the_edges_are_allowed(value: Any) -> None:
    assert leaf_hash(record(body={"x": value}), SALT) == by_the_book(record(body={"x": value}), SALT)


def test_a_lone_surrogate_is_refused_by_canonical_and_in_names() -> None:
    with pytest.raises(LeafError, match="lone surrogate"):
        canonical("\udfff")
    with pytest.raises(LeafError, match="lone surrogate"):
        leaf_hash(record(body={"\ud800": 1}), SALT)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"v": 2}, "format is 2"),
        ({"v": True}, "format is True"),
        ({"n": 0}, "number is 0"),
        ({"n": "1"}, "number is '1'"),
        ({"n": True}, "number is True"),
        ({"at": "2026-03-14T15:09:26Z"}, "time is"),
        ({"at": "2026-03-14T15:09:26.535897+00:00"}, "time is"),
        ({"at": "2026-03-14T15:09:26.53589٧Z"}, "time is"),
        ({"kind": ""}, "'kind'"),
        ({"kind": None}, "'kind'"),
        ({"by": None}, "'by'"),
        ({"incident": 7}, "'incident'"),
        ({"other": 1}, "'other' is not a field"),
        ({"body.": 1}, "'body.' is not a field"),
        ({"body": {}}, "'body' is not a field"),
    ],
)
def test_a_wrong_envelope_or_name_is_refused(change: dict[str, Json], says: str) -> None:
    with pytest.raises(LeafError) as caught:
        leaf_hash(record() | change, SALT)
    assert says in str(caught.value)


@pytest.mark.parametrize("name", sorted(ENVELOPE))
def test_an_incomplete_envelope_is_refused(name: str) -> None:
    flat = record()
    del flat[name]
    with pytest.raises(LeafError, match=f"no field '{name}'"):
        leaf_hash(flat, SALT)


@pytest.mark.parametrize("name", [*sorted(NEVER_REDACTED), "body.unheard-of"])
def test_what_orders_the_log_is_never_redacted(name: str) -> None:
    with pytest.raises(LeafError, match="cannot be redacted"):
        reveal(record(), SALT, redact=[name])


def test_a_salt_of_another_length_is_refused() -> None:
    with pytest.raises(LeafError, match="32 bytes, not 31"):
        leaf_hash(record(), SALT[1:])


def broken(**changes: Any) -> dict[str, Any]:
    return {**reveal(record(), SALT, redact=["body.person"]), **changes}


def shown_with(name: str, value: Any) -> dict[str, Any]:
    return broken(fields={**broken()["fields"], name: value})


@pytest.mark.parametrize(
    ("revealed", "says"),
    [
        ({}, "exactly `fields` and `redacted`"),
        (broken(more=1), "exactly `fields` and `redacted`"),
        (broken(redacted=[]), "exactly `fields` and `redacted`"),
        (broken(redacted={"by": "0" * 64}), "both shown and redacted"),
        (broken(redacted={"v": "0" * 64}, fields={}), "'v' cannot be redacted"),
        (broken(redacted={"body.person": "A" * 64}), "64 lower-case hex"),
        (broken(redacted={"body.person": 1}), "64 lower-case hex"),
        (broken(redacted={"person": "0" * 64}), "'person' is not a field"),
        (shown_with("body.role", {"value": 1}), "exactly `salt` and `value`"),
        (shown_with("body.role", 1), "exactly `salt` and `value`"),
        (shown_with("body.role", {"value": 1, "salt": "0" * 63}), "64 lower-case hex"),
        (shown_with("body.role", {"value": 2**60, "salt": "0" * 64}), "beyond"),
        (shown_with("role", {"value": 1, "salt": "0" * 64}), "'role' is not a field"),
        (shown_with("n", {"value": 1.0, "salt": "0" * 64}), "number is 1.0"),
    ],
)
def test_a_malformed_export_is_refused(revealed: dict[str, Any], says: str) -> None:
    with pytest.raises(LeafError) as caught:
        leaf_hash_of_revealed(revealed)
    assert says in str(caught.value)


def test_times_become_utc_with_microseconds() -> None:
    east = timezone(timedelta(hours=9))
    assert timestamp(datetime(2026, 1, 2, 3, 4, 5, tzinfo=east)) == "2026-01-01T18:04:05.000000Z"
    with pytest.raises(LeafError, match="no time zone"):
        timestamp(AT.replace(tzinfo=None))


def test_a_record_hashes_its_own_fields_and_hides_its_salt() -> None:
    row = JournalRecord(
        incident="inc-7", n=3, at=AT, kind="RoleTaken", by="ada", body=BODY, salt=SALT, hash=leaf_hash(record(), SALT)
    )
    assert row.computed_hash() == row.hash
    assert repr(row) == "JournalRecord(inc-7 n=3 RoleTaken leaf=None)"
