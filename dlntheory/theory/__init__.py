"""Predictions that are no dynamics: margins and alignment, saddles and regimes, the mean field. One theory a folder."""
