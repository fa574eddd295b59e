"""Files that operators write, and the directory for what can be made again."""
