"""Retest, and change over time."""
