"""What this site adds to Sphinx: formulas without a network, docstrings in Markdown, a reference that lists itself."""
