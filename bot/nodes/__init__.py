"""The wall to nodes: one API a file, each a `connect` that returns a driver (`bot/ports.py`).

A driver translates: requests out, answers into domain values, and every failure into one of four errors that say
whether the request can have arrived. No decision, no retry and no proof lives here.
"""
