"""Confirmatory factor analysis and structural equation models in lavaan's syntax, with lavaan 0.6-14's numbers.

How to use it
-------------
>>> import numpy as np
>>> from analysis.psychometrics.sem import compare_models, fit_model, modification_indices
>>> rng = np.random.default_rng(1)
>>> factor = rng.normal(size=(400, 1))
>>> answers = factor * [0.8, 0.7, 0.6, 0.7] + rng.normal(size=(400, 4)) * 0.6
>>> fit = fit_model("trust =~ a + b + c + d", answers, item_codes=["a", "b", "c", "d"], estimator="MLR")
>>> fit.converged, fit.admissible, int(fit.fit["df"])
(True, True, 2)
>>> fit.parameter("trust", "=~", "b").std_all > 0.6
True

- `fit_model(syntax, data, item_codes=…, estimator="ML"|"MLR"|"WLSMV", ordered=…, missing=…, groups=…, group_equal=…,
  cluster=…)` returns a `ModelFit`: `fit` (lavaan's fit measures with underscores), `parameters` (lhs op rhs group est
  se … std_all), `r2`, `converged`, `admissible`, `identified`, `notes`, `n_used`, `n_dropped`, and the matrices behind
  them (`states[g].sigma`).
- Several models of the same data: `sample = prepare_sample(data, item_codes=…, ordered=…, missing=…, groups=…)` once,
  then `fit_model(syntax, sample=sample, …)`: with ordinal items the polychorics and their covariance matrix cost most.
- Covariances instead of data: `fit_model(syntax, moments=Moments(covariance=…, n=…), item_codes=…)`.
- `compare_models(fit1, fit0)` tests nested models (scaled as their own tests are) and gives ΔCFI and the like.
- `modification_indices(fit)`, `standardised_solution(fit)` (with standard errors), `residual_correlations(fit)`,
  `factor_scores(fit, data, item_codes=…)`.

A solution that did not converge, is not identified or not admissible is returned, with a note that names the parameter;
input that cannot be used raises `AnalysisInputError`.
"""

from analysis.psychometrics.sem.difference_tests import ModelComparison, compare_models
from analysis.psychometrics.sem.estimation import ModelFit, ParameterEstimate, fit_model, prepare_sample
from analysis.psychometrics.sem.factor_scores import FactorScores, factor_scores
from analysis.psychometrics.sem.modification import ModificationIndex, modification_indices
from analysis.psychometrics.sem.residuals import residual_correlations
from analysis.psychometrics.sem.sample_statistics import Moments, SampleStatistics
from analysis.psychometrics.sem.standardised_solution import StandardisedEstimate, standardised_solution

__all__ = [
    "FactorScores",
    "ModelComparison",
    "ModelFit",
    "ModificationIndex",
    "Moments",
    "ParameterEstimate",
    "SampleStatistics",
    "StandardisedEstimate",
    "compare_models",
    "factor_scores",
    "fit_model",
    "modification_indices",
    "prepare_sample",
    "residual_correlations",
    "standardised_solution",
]
