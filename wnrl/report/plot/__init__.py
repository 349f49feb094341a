"""`wnrl plot RUN_DIR ...`: the learning curves of any runs in one picture.

Runs need not be comparable, and nothing is claimed about them; `wnrl.compare` makes reports.
"""
