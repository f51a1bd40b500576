"""`python -m svcsim` is `svcsim`."""

from svcsim.cli.main import main

main()
