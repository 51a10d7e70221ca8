"""The database: rows, journal, work claims, the sequencer and migrations, on SQLite or PostgreSQL.

One writer thread a process owns its only writing connection; decisions that arrive together are committed together, and
no two processes write at once. Nothing in this room decides anything.
"""
