"""Normalizations: the record of one, the catalogue of all, and where they are placed.

A normalization is one record in the catalogue. Networks and agents never ask for its name.
"""
