"""The version of svcsim."""

__version__ = "0.1.0"
