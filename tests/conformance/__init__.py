"""Conformance vectors: cases of the real systems as data, and the runner that holds the model to them."""
