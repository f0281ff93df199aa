"""Machinery that no reader of the API needs."""
