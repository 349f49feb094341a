"""Trackers that a run may also write its scalars to: Weights & Biases, MLflow and Trackio.

A tracker is one record in the catalogue and one small module, which alone imports its package. A
run never reads anything back from a tracker, and never ends because of one.
"""
