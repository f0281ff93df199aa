"""Kinds of coordinates: their options, maps, and scores on held-out samples."""
