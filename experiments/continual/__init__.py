"""Tasks that come one after another, a chart of each."""
