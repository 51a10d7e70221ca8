"""What a person is told before a freeze that deletes keys."""

from pathlib import Path

from bot.domain.playbook import Verb
from bot.flows import respond
from tests.fakes import alert, config, node, person, room, with_nodes


async def test_who_confirms_a_freeze_reads_first_that_it_deletes_what_nobody_keeps(tmp_path: Path) -> None:
    nodes = {"s01": node("s01", driver="keymanager"), "s02": node("s02", driver="keymanager", escrow=True)}
    async with room(tmp_path, with_nodes(config(), nodes)) as spine:
        await spine.receive(alert(signer="s01"))
        command = respond.Request(by=person("cyn"), incident=1, verb=Verb.FREEZE, targets=("s01", "s02", "s03"))
        seen = await spine.ledger.preview(respond.preview, command)
        assert seen.text == "s01: its freeze deletes the key, and no escrow is attested"
