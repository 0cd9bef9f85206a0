"""How results show themselves: text, cards in HTML, LaTeX and MathML, progress of long work."""
