"""Checks of what a user's environment returns. What a fault is called is in `guarded_env.py`."""
