"""nftables as kube-proxy uses it: the ruleset as values, its texts, its evaluation and its compiled form."""
