"""`/files/…`: url_private and url_private_download, with the trap that real clients fall into.

Slack answers who may not read a file with its sign-in page, as HTML and not as an error: a redirect to it when there
is no token at all, the page itself (status 200) when the token is not good or has not `files:read`.
"""

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from bot.practice.workspace.office import Office
from bot.practice.workspace.shown import INLINE, mimetype

_SIGN_IN = """<!DOCTYPE html><html lang="en-US"><head><meta charset="utf-8"><title>Sign in | Slack</title></head>
<body><h1>Sign in to Practice</h1><p>practice.slack.com</p></body></html>
"""


def answer(office: Office, request: Request) -> Response:
    """Return the file, to the bot's token with files:read or to the workspace's own page."""
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    own_page = request.headers.get("sec-fetch-site") == "same-origin"
    if not bearer and not own_page:
        return RedirectResponse(f"/?redir={quote(request.url.path, safe='')}", status_code=302)
    if not own_page and (bearer != office.bot_token or "files:read" not in office.installation.scopes):
        return HTMLResponse(_SIGN_IN)
    file = office.world.files.get(request.path_params["id"])
    if file is None or file.content is None:
        return PlainTextResponse("no such file", status_code=404)
    kind = mimetype(file.name)
    shown = kind in INLINE and not request.path_params["rest"].startswith("download/")
    headers = {"content-disposition": "inline" if shown else "attachment", "x-content-type-options": "nosniff"}
    return Response(file.content, media_type=kind, headers=headers)
