"""The scenarios of scenarios/ that each ask one question, and the answers that the documentation gives to them."""
