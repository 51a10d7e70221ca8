"""The HTTP edge: Alertmanager's webhook, the API, health, metrics, the console; mounts what chat exports.

Requests become one decision or one reading; errors become problem+json. No decision is made here.
"""
