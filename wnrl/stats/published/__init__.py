"""Published scores that put the games of a comparison on one scale.

Scores of runs, and statistics of them, do not belong here.
"""
