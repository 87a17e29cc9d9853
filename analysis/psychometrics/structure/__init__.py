"""Rival structural models, invariance over groups and roles, what follows for reliability and validity."""
