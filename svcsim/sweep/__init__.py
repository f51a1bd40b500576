"""Many runs of a scenario: its variants times its replications, one after the other or in several processes."""
