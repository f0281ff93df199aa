"""Spaces of a unit under each protocol, their splits, and what is measured on them."""
