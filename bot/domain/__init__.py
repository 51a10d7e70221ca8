"""The words of the incident room as plain values: pure, frozen, no I/O, no clock, no randomness.

Nothing here imports a web framework, a database or pydantic.
"""
