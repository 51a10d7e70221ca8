"""The practice signer: what is really signed, which is not always what the API says."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from bot.practice.fleet.record import Decision, Message, Record
from bot.practice.fleet.spec import Character

GENESIS = "0x" + hashlib.sha256(b"stopsign practice chain").hexdigest()
"""genesis_validators_root of the practice chain."""


class Obedience(StrEnum):
    """What a node makes of the request to freeze one key."""

    DOES = "does"
    PROMISES = "promises"  # answers yes; nothing changes, and a read-back shows it
    PRETENDS = "pretends"  # answers yes and reads back as done; goes on signing
    FAILS = "fails"  # answers with an error inside the 200


def obedience(character: Character, *, index: int, of: int, asked_before: int) -> Obedience:
    """Tell how a node of `character` treats key number `index` of `of` in a freeze request."""
    if character is Character.LYING and asked_before == 0:
        return Obedience.PROMISES
    if character is Character.DEAF:
        return Obedience.PRETENDS
    if character is Character.HALF and index >= of // 2:
        return Obedience.FAILS
    return Obedience.DOES


@dataclass(slots=True, kw_only=True)
class Held:
    """One key of a node: `active` is the truth, `stopped` is what the API says."""

    key: str
    remote: bool = False
    active: bool = True
    stopped: bool = False
    counter: int = 0  # signatures since process start
    total: int = 0  # signatures ever
    freezes_asked: int = 0
    last_signed_at: datetime | None = None
    last_root: str | None = None
    protected_slot: int = -1
    incident: str | None = None


class Signer:
    """Signs with each active key at each duty: once a slot, a slot every `period` seconds, counted from the epoch."""

    def __init__(
        self, *, avs: str, duty: str, period: float, keys: Sequence[str], remote: Sequence[str], record: Record
    ) -> None:
        self.avs = avs
        self.duty = duty
        self.period = period
        self.record = record
        self.held = {key: Held(key=key, remote=key in remote) for key in keys}
        self.required = 0
        self.missed = 0
        self.conflicts = 0
        self._nonce = 0

    def slot_at(self, now: datetime) -> int:
        """Return the slot that `now` lies in."""
        return int(now.timestamp() / self.period)

    def next_duty(self, now: datetime) -> datetime:
        """Return when the next duty is due, whether or not anything will sign it."""
        return datetime.fromtimestamp((self.slot_at(now) + 1) * self.period, UTC)

    def fulfil(self, now: datetime) -> None:
        """Let each key meet its duty of the present slot: sign, or miss it and say why."""
        slot = self.slot_at(now)
        for held in self.held.values():
            self.required += 1
            reason = self._denial(held, slot)
            verdict = "denied" if reason else "allowed"
            if reason:
                self.missed += 1
            else:
                self._sign(held, slot, now, salt="")
            self.record.decisions.append(
                Decision(at=now, key=held.key, avs=self.avs, decision=verdict, reason=reason or "duty", slot=slot)
            )

    def equivocate(self, now: datetime) -> bool:
        """Sign a second, conflicting digest for a slot already signed; False when nothing here signs any more."""
        held = next((held for held in self.held.values() if held.active), None)
        self.conflicts += 1
        if held is None:
            return False
        last = self.record.last_of(held.key)
        if last is None:
            last = self._sign(held, self.slot_at(now), now, salt="")
        self._sign(held, last.slot, now, salt="conflict")
        return True

    def restart(self) -> None:
        """Forget what a process forgets: the counters since its start. Frozen keys stay frozen."""
        for held in self.held.values():
            held.counter = 0

    def admit(self, key: str, *, remote: bool = False) -> str:
        """Take a key in, or back in; returns `imported`, or `duplicate` when it is there."""
        held = self.held.get(key)
        if held and not held.stopped:
            return "duplicate"
        if held is None:
            held = self.held[key] = Held(key=key)
        held.remote, held.active, held.stopped, held.freezes_asked, held.incident = remote, True, False, 0, None
        return "imported"

    def interchange(self, keys: Sequence[str]) -> Mapping[str, object]:
        """Return the slashing protection of `keys` in EIP-3076 interchange version 5."""
        data = [self._protection(self.held[key]) for key in keys if key in self.held]
        return {"metadata": {"interchange_format_version": "5", "genesis_validators_root": GENESIS}, "data": data}

    def protect(self, key: str, slot: int) -> str:
        """Refuse from now on to sign at or below `slot`; never lowers what is there."""
        held = self.held.get(key)
        if held is None:
            return "not_found"
        if slot <= held.protected_slot:
            return "unchanged"
        held.protected_slot, held.last_root = slot, None
        return "imported"

    def _denial(self, held: Held, slot: int) -> str | None:
        if not held.active:
            return f"frozen for {held.incident}" if held.incident else "frozen"
        if slot <= held.protected_slot:
            return "slashing protection"
        return None

    def _sign(self, held: Held, slot: int, now: datetime, *, salt: str) -> Message:
        self._nonce += 1
        digest = "0x" + hashlib.sha256(f"{held.key}/{self.duty}/{slot}/{salt}".encode()).hexdigest()
        message = Message(
            digest=digest, key=held.key, avs=self.avs, duty=self.duty, slot=slot, nonce=self._nonce, at=now
        )
        held.counter += 1
        held.total += 1
        held.last_signed_at, held.last_root = now, digest
        held.protected_slot = max(held.protected_slot, slot)
        self.record.signed(message)
        return message

    def _protection(self, held: Held) -> Mapping[str, object]:
        root = {"signing_root": held.last_root} if held.last_root else {}
        blocks = [{"slot": str(held.protected_slot), **root}] if held.protected_slot >= 0 else []
        return {"pubkey": held.key, "signed_blocks": blocks, "signed_attestations": []}
