"""Readers of tables: which columns are meant, and their rows."""
