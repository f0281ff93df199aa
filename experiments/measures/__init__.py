"""Spaces of a unit by protocol, their splits, and their metrics."""
