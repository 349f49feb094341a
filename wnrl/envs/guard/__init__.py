"""Checks of what a user's environment returns, and the guard around `reset` and `step`."""
