"""Studies whose seeds are added in stages until every comparison is decided.

The levels of a repeated test, and the decisions after each stage, belong here. Planning and running
the seeds does not (`wnrl.compare`).
"""
