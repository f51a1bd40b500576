"""The model held against the world: published and measured figures, and what the same set-ups give in the simulation."""
