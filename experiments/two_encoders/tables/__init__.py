"""What each table deals to charts, joins them by, and counts."""
