"""Closed forms: $z(t)$ or its modes as formulas in stable form, with the conditions under which they hold."""
