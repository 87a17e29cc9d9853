"""Measurements, each started as a file: see the first lines of each."""
