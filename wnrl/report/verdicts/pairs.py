"""The pairs of variants that a comparison compares."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from wnrl.report.comparison import Variant, counterpart


class Pairs(NamedTuple):
    """Pairs of a variant and of the one that it is compared with."""

    of: tuple[tuple[Variant, Variant], ...]
    all_pairs: bool  # without a baseline, every two variants are compared


def pairs_of(variants: Sequence[Variant], norm: str) -> Pairs:
    """Return each variant with the baseline of the same swept settings.

    Args:
        variants: all variants.
        norm: normalization of the baseline. If no variant can be compared with it, every two
            variants are compared.
    """
    pairs = [
        (variant, baseline)
        for variant in variants
        if variant.norm != norm and (baseline := counterpart(variant, variants, norm)) is not None
    ]
    if pairs:
        return Pairs(tuple(pairs), all_pairs=False)
    every = tuple((later, earlier) for earlier, later in itertools.combinations(variants, 2))
    return Pairs(every, all_pairs=True)
