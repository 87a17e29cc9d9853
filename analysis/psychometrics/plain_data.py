"""Results as plain data: what JSON, a database column and a text table can hold."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def as_plain(value: Any) -> Any:
    """Return dataclasses, mappings, arrays and NumPy's scalars as dicts, lists and Python's own; NaN and ±∞ as None.

    Examples
    --------
    >>> import numpy as np
    >>> as_plain({"alpha": np.float64(0.5), "sem": float("nan"), "r": np.array([1.0, np.inf])})
    {'alpha': 0.5, 'sem': None, 'r': [1.0, None]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return as_plain(value.tolist())
    if isinstance(value, list | tuple):
        return [as_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return as_plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
