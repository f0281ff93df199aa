"""Measures that look at what is near to each sample."""
