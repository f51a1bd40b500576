"""`report.html`: one file that shows a run's results to people, offline, in light and dark and on paper."""
