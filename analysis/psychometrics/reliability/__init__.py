"""Reliability of scores: alpha, the omegas, intervals, level by level."""
