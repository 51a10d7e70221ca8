"""`python -m bot.cli.run`: the stopsign command, where no console script is installed."""

from bot.cli import main

if __name__ == "__main__":
    main()
