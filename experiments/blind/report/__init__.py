"""What stands in the report of a run without an oracle: tables, goals, figures."""
