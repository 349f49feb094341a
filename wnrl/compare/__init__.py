"""`python -m wnrl.compare`: the grid of runs of a comparison, its plan and its jobs.

Code that chooses, starts, watches and repeats runs belongs here. Reading their results does not
(`wnrl.report`).
"""
