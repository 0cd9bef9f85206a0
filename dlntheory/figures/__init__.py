"""Figures of the papers, one module for each topic: functions that take `ax` and return it."""
