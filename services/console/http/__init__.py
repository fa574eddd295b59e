"""What protects the pages: where they are served, what browsers may do with them, and whose forms are read."""
