"""Check settings, files and everything that they point at, line by line, with what to do about each failure.

Read-only towards the world: GET requests, `auth.test`, a database transaction that is rolled back. Each look outside
takes at most five seconds, and all run at once.
"""

from bot.config.review import Check, State
from bot.doctor.here import checks

__all__ = ["Check", "State", "checks"]
