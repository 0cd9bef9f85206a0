"""Claims of the mean-field theory."""
