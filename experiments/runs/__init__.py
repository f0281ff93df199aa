"""What every run shares: options, training kept on disk, files, rows."""
