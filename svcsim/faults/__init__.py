"""What can go wrong, as things that act on a world at a time and are lifted at another."""
