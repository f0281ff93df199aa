"""Consensus coordinates: who is linked, moments of the rows, and the map from them."""
