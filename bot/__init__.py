"""Stopsign: incident response for operators of AVS nodes and validators.

The rooms and floors of this package are drawn in `docs/architecture.md`; import-linter holds them.
"""

__version__ = "0.1.0"
