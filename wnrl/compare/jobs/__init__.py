"""The jobs of a comparison: processes of this machine or tasks of a Ray cluster.

How a run is started, watched and ended belongs here. Which runs there are does not.
"""
