"""The report of a run without an oracle: tables, goals, figures."""
