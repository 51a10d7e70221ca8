"""Files that people put into forms: they are in the workspace before the form is sent, as with Slack."""

from collections.abc import Mapping, Sequence
from typing import Any

from bot.practice.workspace.methods.files import content_of, new_file
from bot.practice.workspace.office import Office
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.shown import file_object


def filed(office: Office, user: str, blocks: Sequence[Json], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was put in, files as file objects; each is given as an id or {filename, content or base64}."""
    inputs = {block["block_id"] for block in blocks if block.get("element", {}).get("type") == "file_input"}
    return {
        block_id: [_file(office, user, item) for item in _items(value)] if block_id in inputs else value
        for block_id, value in given.items()
    }


def _file(office: Office, user: str, item: Any) -> Json:
    if isinstance(item, dict) and "filename" in item:
        return file_object(new_file(office, str(item["filename"]), user=user, content=content_of(item)), office.world)
    found = office.world.files.get(str(item.get("id") if isinstance(item, dict) else item))
    if found is None:
        raise Refusal("file_not_found")
    return file_object(found, office.world)


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict) and "filename" not in value and "id" not in value:
        value = next(iter(value.values()), [])
    return list(value) if isinstance(value, (list, tuple)) else [value] if value else []
