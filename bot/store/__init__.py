"""The database: rows, journal, work claims, the sequencer and migrations.

One writer thread owns the only writing connection to SQLite; decisions that arrive together are committed together.
Nothing in this room decides anything.
"""
