"""Consensus coordinates: linked samples, their moments, and the map."""
