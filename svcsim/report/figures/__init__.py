"""The figures, one a file: each takes results and returns a matplotlib figure, fit for a slide."""
