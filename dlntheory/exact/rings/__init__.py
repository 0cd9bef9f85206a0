"""Rings over which a program is evaluated, one a file."""
