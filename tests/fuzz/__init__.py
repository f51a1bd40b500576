"""Readers of dumps against any bytes: with hypothesis, and with atheris where it is installed."""
