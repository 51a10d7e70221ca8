"""Stands: one file a driver, each exporting STANDS."""
