"""Sentences and tables about sensitivity to swept settings, the same in every report."""

from collections.abc import Iterator

from wnrl._settings import flag_name
from wnrl.report.comparison import NormSensitivity, Sensitivity, SettingRange
from wnrl.report.number_format import (
    MISSING,
    counted,
    difference,
    ends,
    justified_digits,
    listed,
    number,
)
from wnrl.report.verdicts.sentences import Finding
from wnrl.stats.intervals import Interval

_MOST_RANGES = 6  # sentences; more are only in the table
_DECIMALS = 2  # of decades and normalized scores

RANGE_COLUMNS = (
    "game",
    "setting",
    "variant",
    "best value",
    "decades within the margin",
    "more than the baseline",
    "shared value",
    "lost at the shared value",
)
NORM_COLUMNS = ("norm", "sensitivity", "effective dimension", "settings")

HOW_TO_READ = """\
Decades within the margin: how much of the range of tried values, in powers of ten, has a final \
return within the margin of the best, interpolated between the values. The shared value is best \
on average over the variants of the game; lost there is the final return at a variant's best \
value minus that at the shared one. Lost runs count as the worst score of their game. Intervals: \
95%, from Student's t of every mean; those of differences to the baseline hold for all of them \
together. The best value is chosen from the same runs, so with few seeds ranges look narrower, \
and losses larger, than they are.\
"""
HOW_TO_READ_NORMS = """\
Sensitivity: normalized final return that is gained by tuning the settings for each game instead \
of once for all games. Effective dimension: settings that must be tuned for each game to keep 95% \
of the return that tuning all of them reaches. In each game, 0 and 1 are the 5th and 95th \
percentile of all means (Adkins et al. 2024, arXiv 2412.07165). Intervals as for the ranges.\
"""


def sensitivity_findings(found: Sensitivity) -> Iterator[Finding]:
    """Yield a finding for each range, if they are few, and one over games."""
    if len(found.ranges) <= _MOST_RANGES:
        for each in found.ranges:
            yield Finding(f"{each.env}, {flag_name(each.setting)}", _range_sentence(each))
    else:
        yield Finding(
            "Sensitivity",
            f"The table of ranges shows for {counted(len(found.ranges), 'variant')} how wide the "
            "range of good values is.",
        )
    if found.norms:
        yield Finding(f"Sensitivity over {len(found.games)} games", _norms_sentence(found))


def _range_sentence(found: SettingRange) -> str:
    wider = ""
    if found.wider is not None:
        more = difference(found.wider.value, found.wider.low, found.wider.high)
        wider = f" ({more} compared with the baseline)"
    return (
        f"{found.label} is within the margin of its best final return over "
        f"{_interval(found.width, _DECIMALS)} of {number(found.tried, _DECIMALS)} decades{wider}. "
        f"At the shared value {found.shared} it loses {_loss(found.loss)} against its best, "
        f"{found.best}."
    )


def _norms_sentence(found: Sensitivity) -> str:
    gains = [f"{_interval(x.sensitivity, _DECIMALS)} with {x.norm}" for x in found.norms]
    return (
        "Tuning for each game instead of once for all of them gains a normalized final return of "
        f"{listed(gains)}."
    )


def range_row(found: SettingRange) -> tuple[str, ...]:
    """Return the cells of a range, in the order of `RANGE_COLUMNS`."""
    wider = found.wider
    return (
        found.env,
        flag_name(found.setting),
        found.label,
        found.best,
        f"{_interval(found.width, _DECIMALS)} of {number(found.tried, _DECIMALS)}",
        MISSING if wider is None else difference(wider.value, wider.low, wider.high),
        found.shared,
        _loss(found.loss),
    )


def norm_row(found: NormSensitivity) -> tuple[str, ...]:
    """Return the cells of a normalization, in the order of `NORM_COLUMNS`."""
    return (
        found.norm,
        _interval(found.sensitivity, _DECIMALS),
        _interval(found.dimension, 0),
        str(found.settings),
    )


def _loss(loss: Interval) -> str:
    return _interval(loss, justified_digits(loss.low, loss.high, loss.value))


def _interval(interval: Interval, digits: int) -> str:
    """Return `1.20 [0.85, 1.60]`."""
    text = ends(interval.low, interval.high, digits)
    return f"{number(interval.value, digits)} {text}".rstrip()
