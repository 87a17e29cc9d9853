"""Where a model misfits: observed minus implied correlations."""

import numpy as np

from analysis.psychometrics.response_matrix import FloatArray, read_only
from analysis.psychometrics.sem.estimation import ModelFit


def residual_correlations(fit: ModelFit) -> tuple[FloatArray, ...]:
    """Return for every group observed minus implied correlations, in the order of `fit.sample.item_codes`.

    Notes
    -----
    Both matrices are put into correlations by their own variances (Bollen). With missing='fiml' the observed ones are
    those of the saturated model. R: `lavResiduals(fit, type = "cor.bollen")$cov`.
    """
    result = []
    for group in fit.inference.residuals:
        sd, implied_sd = np.sqrt(np.diag(group.observed)), np.sqrt(np.diag(group.implied))
        difference = group.observed / np.outer(sd, sd) - group.implied / np.outer(implied_sd, implied_sd)
        result.append(read_only(difference))
    return tuple(result)
