"""A thin skin over SimPy: the clock, events, stations, timers and random streams."""
