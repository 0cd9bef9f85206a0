"""Formulas on a page without a network: LaTeX to MathML, and the font that draws it."""

from .mathml import font_face as font_face, formula as formula, prose as prose
