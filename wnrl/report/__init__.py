"""The report of a comparison: results of runs, their comparison, sentences, tables and the page.

What reads finished runs and writes for people belongs here. Statistics do not (`wnrl.stats`).
"""
