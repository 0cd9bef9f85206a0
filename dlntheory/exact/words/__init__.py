"""Noncommutative polynomials in named matrices and their transposes: reading φ as such, and writing them."""
