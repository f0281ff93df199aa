"""Measures of more than two spaces."""
