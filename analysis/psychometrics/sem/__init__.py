"""Confirmatory factor analysis and structural equation models in lavaan's syntax."""

from analysis.psychometrics.sem.estimation import ModelFit, ParameterEstimate, fit_model, prepare_sample
from analysis.psychometrics.sem.sample_statistics import Moments, SampleStatistics

__all__ = ["ModelFit", "Moments", "ParameterEstimate", "SampleStatistics", "fit_model", "prepare_sample"]
