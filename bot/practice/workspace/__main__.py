"""`python -m bot.practice.workspace`: serve a workspace on loopback until stopped."""

import argparse
import os
import sys
from pathlib import Path

from bot.practice.workspace.app import APP_TOKEN, CHANNELS, SHORTCUTS, build
from bot.practice.workspace.people import load_people
from bot.practice.workspace.serving import Server, config


def main() -> int:
    """Read the arguments, serve; return 2 when something is missing."""
    args = _parser().parse_args()
    secret, token = os.environ.get("SLACK_SIGNING_SECRET", ""), os.environ.get("SLACK_BOT_TOKEN", "")
    if not secret or not token:
        sys.stderr.write("SLACK_SIGNING_SECRET and SLACK_BOT_TOKEN must be set, the same as for the bot.\n")
        return 2
    try:
        people = load_people(args.people)
    except (OSError, TypeError, ValueError) as exc:
        sys.stderr.write(f"{args.people}: {exc}\n")
        return 2
    app = build(
        bot_url=args.bot_url or None,
        signing_secret=secret,
        bot_token=token,
        people=people,
        channels=args.channels.split(","),
        shortcuts=_pairs(args.shortcut) or SHORTCUTS,
        global_shortcuts=_pairs(args.global_shortcut),
        commands=_listed(args.commands),
        scopes=_listed(args.scopes),
        events=_listed(args.events),
        app_token=os.environ.get("SLACK_APP_TOKEN") or APP_TOKEN,
        rate_limits=args.rate_limits == "on",
        redelivery=[float(seconds) for seconds in args.redelivery.split(",")],
    )
    Server(config(app, port=args.port)).run()
    return 0


def _pairs(pairs: list[str]) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in pairs)


def _listed(words: str | None) -> list[str] | None:
    return None if words is None else [word for word in words.split(",") if word]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bot.practice.workspace", description=__doc__)
    parser.add_argument("--port", type=int, default=8971)
    parser.add_argument(
        "--bot-url", default="http://127.0.0.1:8970/slack/events", help="the request URL; empty: by socket only"
    )
    parser.add_argument("--people", type=Path, required=True, help="a JSON array of people")
    parser.add_argument(
        "--channels", default=",".join(CHANNELS), help="names of the channels that stand from the start"
    )
    parser.add_argument(
        "--shortcut", action="append", default=[], metavar="CALLBACK_ID=NAME", help="a message shortcut of the bot"
    )
    parser.add_argument(
        "--global-shortcut", action="append", default=[], metavar="CALLBACK_ID=NAME", help="a global shortcut of it"
    )
    parser.add_argument("--commands", help="the slash commands that exist, with commas; any if left out")
    parser.add_argument("--scopes", help="what is granted to the bot's token, with commas; all if left out")
    parser.add_argument("--events", help="the bot events that are subscribed, with commas")
    parser.add_argument("--rate-limits", choices=("on", "off"), default="on")
    parser.add_argument(
        "--redelivery", default="0,60,300", help="seconds before each repeat of an unacknowledged event"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
