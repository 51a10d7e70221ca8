"""Clients of Prometheus and Alertmanager: readings only, and no answer is None, never an assumption."""
