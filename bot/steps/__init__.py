"""Steps: the I/O between two transactions, one verb a file.

A handler begins (intents committed), calls drivers, and reports outcomes; it never writes by itself and decides nothing
about the incident. Nothing here knows which driver it talks to.
"""
