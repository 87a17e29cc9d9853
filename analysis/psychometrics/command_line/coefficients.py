"""Coefficients with cluster-robust errors, and tests of several at once, as data and as text tables."""

from collections.abc import Sequence
from typing import Any

from analysis.psychometrics.command_line.report import Section
from analysis.psychometrics.dyads.bivariate_intercepts import BivariateIntercepts
from analysis.psychometrics.inference.robust_inference import ClusteredRegression, WaldTest


def coefficient_rows(fit: ClusteredRegression | BivariateIntercepts) -> list[dict[str, Any]]:
    """Return one entry per coefficient: `name est se t df pvalue ci_lower ci_upper`."""
    return [
        {
            "name": name,
            "est": fit.estimate[i],
            "se": fit.se[i],
            "t": fit.statistic[i],
            "df": fit.df[i],
            "pvalue": fit.pvalue[i],
            "ci_lower": fit.ci_lower[i],
            "ci_upper": fit.ci_upper[i],
        }
        for i, name in enumerate(fit.names)
    ]


def coefficient_table(title: str, rows: Sequence[dict[str, Any]], *, decimals: int = 3) -> Section:
    """Return such entries as a text table."""
    keys = ("name", "est", "se", "t", "df", "pvalue", "ci_lower", "ci_upper")
    return Section(
        title=title, columns=keys, rows=[tuple(_cell(row[key]) for key in keys) for row in rows], decimals=decimals
    )


def wald_entry(test: WaldTest) -> dict[str, Any]:
    """Return a joint test: `F df1 df2 pvalue method notes`."""
    return {
        "F": test.statistic,
        "df1": test.df_numerator,
        "df2": test.df_denominator,
        "pvalue": test.pvalue,
        "method": test.method,
        "notes": test.notes,
    }


def _cell(value: Any) -> str | float:
    return value if isinstance(value, str) else float(value)
