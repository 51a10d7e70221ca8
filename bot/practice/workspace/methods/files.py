"""files.*: the three steps of an upload, and what is known of a file."""

import base64

from bot.practice.workspace.arguments import names, need, parsed, text
from bot.practice.workspace.methods import finding
from bot.practice.workspace.office import Office
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.shown import file_object
from bot.practice.workspace.state import BOT_USER, Channel, File

FILE_MAX = 64 * 1024 * 1024


def get_upload_url(office: Office, args: Json) -> Json:
    """Return an address to send the bytes to, and the file's id."""
    name, length = need(args, "filename"), need(args, "length")
    if not length.isdigit() or int(length) == 0:
        raise Refusal("invalid_arguments", messages=["`length` must be a positive number of bytes"])
    if int(length) > FILE_MAX:
        raise Refusal("file_upload_size_restricted")
    file = new_file(office, name, user=BOT_USER)
    file.length = int(length)
    return {"upload_url": f"{office.world.origin}/upload/v1/{file.id}", "file_id": file.id}


def complete_upload(office: Office, args: Json) -> Json:
    """Finish uploads and share them in one message a channel.

    Slack shares only after its scan, so the answer does not tell where the files are; files.info does, later.
    """
    wanted = parsed(args, "files", "invalid_arguments")
    if not isinstance(wanted, list) or not wanted:
        raise Refusal("invalid_arguments", messages=["missing required field: files"])
    channels = [_channel(office, id_) for id_ in names(args, "channel_id") + names(args, "channels")]
    thread_ts = text(args, "thread_ts") or None
    files = [_uploaded(office, row) for row in wanted]
    for channel in channels:
        if thread_ts:
            finding.message(channel, thread_ts, error="thread_not_found")
        office.share(files, channel, text=text(args, "initial_comment"), thread_ts=thread_ts)
    shown = [file_object(file, office.world) for file in files]
    return {"files": [row | {"shares": {}, "channels": [], "groups": [], "ims": []} for row in shown]}


def info(office: Office, args: Json) -> Json:
    """Return one file."""
    file = office.world.files.get(text(args, "file"))
    if file is None or file.content is None:
        raise Refusal("file_not_found")
    return {"file": file_object(file, office.world), "comments": [], "response_metadata": {"next_cursor": ""}}


def new_file(office: Office, name: str, *, user: str, content: bytes | None = None) -> File:
    """Return a new file's row; without content it waits for its bytes."""
    world = office.world
    file = File(id=world.new_id("F"), name=name, title=name, user=user, created=int(world.clock()), content=content)
    world.files[file.id] = file
    return file


def content_of(body: Json) -> bytes:
    """Return the bytes that a person's act brings: `base64`, else `content` as text."""
    binary = body.get("base64")
    return base64.b64decode(str(binary)) if binary else str(body.get("content", "")).encode()


def _channel(office: Office, id_: str) -> Channel:
    return finding.joined(office, {"channel": id_})


def _uploaded(office: Office, row: Json) -> File:
    file = office.world.files.get(str(row.get("id")))
    if file is None or file.content is None:
        raise Refusal("file_not_found")
    file.title = str(row.get("title") or file.name)
    return file


METHODS = {
    "files.getUploadURLExternal": get_upload_url,
    "files.completeUploadExternal": complete_upload,
    "files.info": info,
}
