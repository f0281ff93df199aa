"""Formats of files of embeddings, and what all readers share."""
