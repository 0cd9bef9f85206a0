"""Claims on separable data: layers align, and the predictor turns to the maximum margin."""
