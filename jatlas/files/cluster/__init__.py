"""Merges of files by the workers of a Dask cluster."""
