"""`python -m wnrl.curvature RUN_DIR`: the curvature of what a checkpoint of a run learns.

The mathematics is in `wnrl.instruments.curvature`.
"""
