"""svcsim: a discrete-event simulator of the Kubernetes Service layer."""

__version__ = "0.1.0"
