"""Encoders: kinds of charts, frozen features, weights files."""
