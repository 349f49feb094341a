"""Statistics of scores: intervals, bootstraps, learning curves and published reference scores.

Numbers in, numbers out. Reading runs, choosing words and drawing figures do not belong here.
"""
