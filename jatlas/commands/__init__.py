"""What the commands do with files: merge, project, compare, view."""
