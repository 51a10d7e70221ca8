"""`python -m bot.practice.workspace`: serve a workspace on loopback until stopped."""

import argparse
import os
import sys
from pathlib import Path

from bot.practice.workspace.app import CHANNELS, SHORTCUTS, build
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
        bot_url=args.bot_url,
        signing_secret=secret,
        bot_token=token,
        people=people,
        channels=args.channels.split(","),
        shortcuts=dict(pair.split("=", 1) for pair in args.shortcut) or SHORTCUTS,
        rate_limits=args.rate_limits == "on",
        redelivery=[float(seconds) for seconds in args.redelivery.split(",")],
    )
    Server(config(app, port=args.port)).run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bot.practice.workspace", description=__doc__)
    parser.add_argument("--port", type=int, default=8971)
    parser.add_argument("--bot-url", default="http://127.0.0.1:8970/slack/events")
    parser.add_argument("--people", type=Path, required=True, help="a JSON array of people")
    parser.add_argument(
        "--channels", default=",".join(CHANNELS), help="names of the channels that stand from the start"
    )
    parser.add_argument(
        "--shortcut", action="append", default=[], metavar="CALLBACK_ID=NAME", help="a message shortcut of the bot"
    )
    parser.add_argument("--rate-limits", choices=("on", "off"), default="on")
    parser.add_argument(
        "--redelivery", default="0,60,300", help="seconds before each repeat of an unacknowledged event"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
