"""Clients that keep their data and their charts, and share one atlas."""
