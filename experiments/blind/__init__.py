"""How well merged spaces hold up when nothing is known of a sample."""
