"""Noncommutative polynomials in named matrices and their transposes: reading φ as such, and writing them.

A *word* is a noncommutative monomial, a *letter* one of its matrix symbols: a factor, a slice of it, or a
constant matrix.
"""
