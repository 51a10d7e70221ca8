"""Read the operator's files and the shipped content into domain values.

Here live the readers of `inventory.yaml`, `team.yaml`, `policy.yaml`, `runbooks/*.md` and `playbooks/*.yaml`, the
starter set that `stopsign init` writes, and the Prometheus rules made from the runbooks. Every problem of every file
is told at once, with file, line and remedy. Never here: a network call, a decision, a secret's value.
"""

from bot.config.load import load

__all__ = ["load"]
