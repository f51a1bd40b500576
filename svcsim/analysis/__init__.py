"""Output analysis and theory: intervals over replications, warm-up, comparison of modes, queueing formulas."""
