"""The tables: what is dealt to charts, what joins them, what is counted."""
