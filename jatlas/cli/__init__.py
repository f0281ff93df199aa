"""What the commands do with files: merge, add, project, compare, view."""
