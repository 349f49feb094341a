"""Vectorized environments behind one interface."""
