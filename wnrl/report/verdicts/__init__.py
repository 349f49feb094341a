"""Verdicts of a comparison: which variants are compared, and what their runs show.

The tests are in `wnrl.stats`, the records in `wnrl.report.comparison`.
"""
