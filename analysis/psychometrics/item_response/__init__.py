"""The graded response model, and items that work differently in groups."""
