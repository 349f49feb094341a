"""Correction of p-values for the number of tests in a family.

Dimension key: K tests of the family.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def holm(p_values: npt.ArrayLike) -> Array:
    """Return p-values adjusted by Holm's method: (..., K) -> (..., K).

        adjusted p_(k) = max over j <= k of min(1, (K - j + 1) p_(j))

    with p_(1) the smallest. Naming every difference with an adjusted p of at most 5% names a wrong
    one in at most 5% of studies, whatever the dependence between the tests. A NaN is a test that
    could not be done: it stays NaN and does not count.

    Source: Holm 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, axis=-1)  # NaN last
    ranked = np.take_along_axis(p, order, axis=-1)
    left = (~np.isnan(p)).sum(axis=-1, keepdims=True) - np.arange(p.shape[-1])
    adjusted = np.minimum(1, np.maximum.accumulate(left * ranked, axis=-1))
    result = np.empty_like(adjusted)
    np.put_along_axis(result, order, adjusted, axis=-1)
    return result
