"""Scalar equations: polynomials of single entries, closed under the flow, found modulo a prime and lifted."""
