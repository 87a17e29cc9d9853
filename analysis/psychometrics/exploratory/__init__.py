"""How many factors, which, and how rotated."""
