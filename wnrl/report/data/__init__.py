"""The numbers of a comparison as CSV, for programs: files next to the page, and links in it.

What people read is made elsewhere in `wnrl.report`.
"""
