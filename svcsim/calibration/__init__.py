"""Cost profiles: what each primitive step of a packet, a wake-up or a sync costs, and where each figure comes from."""
