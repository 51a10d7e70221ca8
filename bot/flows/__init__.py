"""Decisions: plain functions in one transaction. They read and write through a `Book`; they do no I/O.

Each flow is `flow(book, command) -> answer`. What happened is written down as journal entries; what follows from the
entries is `consequences`.
"""
