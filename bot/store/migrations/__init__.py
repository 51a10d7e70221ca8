"""Alembic migrations; append-only tables are never rewritten."""
