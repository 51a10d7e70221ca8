"""`python -m bot.sidecar`: the sidecar without the rest of the bot in memory. Exit codes as those of `stopsign`."""

import sys

from bot.errors import Invalid, Misconfigured, StopsignError
from bot.sidecar.command import sidecar


def main() -> None:
    """Run the command; an error is one line on stderr and an exit code."""
    try:
        sidecar()
    except StopsignError as error:
        print(f"{error.title}: {error}", file=sys.stderr)  # noqa: T201 - this is the command line
        sys.exit(2 if isinstance(error, Invalid | Misconfigured) else 1)


if __name__ == "__main__":
    main()
