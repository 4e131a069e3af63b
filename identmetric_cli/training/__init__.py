"""Training: a compiled step and a loop that yields records."""
