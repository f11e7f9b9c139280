"""Comparing runs: pure statistics, groups of runs, and the tables, figures and page of them.

Everything that is shown is made of one dictionary, see `comparison.compare`.
"""
