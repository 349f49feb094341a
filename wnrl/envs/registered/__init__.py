"""Environments that are registered with Gymnasium: keywords, observations, vector environments.

What is here serves any id. Nothing here knows a single environment by its name.
"""
