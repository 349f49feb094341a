"""The jobs of a comparison: processes on this machine or tasks on a Ray cluster.

Code that starts, watches and ends a run belongs here. The choice of runs does not.
"""
