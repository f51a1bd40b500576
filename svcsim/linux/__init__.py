"""Linux as far as a Service needs it: pure decisions over kernel state, without a clock."""
