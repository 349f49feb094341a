"""`python -m wnrl.compare`: a grid of runs, its plan and the jobs that carry it out.

What starts, watches and repeats runs belongs here. Reading their results does not (`wnrl.report`).
"""
