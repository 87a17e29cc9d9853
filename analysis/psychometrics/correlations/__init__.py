"""Correlations of ordinal and continuous items, with thresholds and their asymptotic covariance."""
