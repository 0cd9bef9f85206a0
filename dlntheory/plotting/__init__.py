"""Figures, one module for each topic: functions that take `ax` and return it, and change no global setting."""
