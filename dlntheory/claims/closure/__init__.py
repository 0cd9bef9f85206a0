"""Claims about automatic closure: the equations that are found are those of the full flow, and what they need."""
