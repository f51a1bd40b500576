"""What a run leaves: records, summaries, the anatomy of faults, expectations and the folder of results."""
