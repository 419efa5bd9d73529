"""Neural scaling laws: forms, fits with intervals, comparison and answers. Imports no torch."""
