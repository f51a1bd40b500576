"""A world: the one place that knows all the parts, builds them from a scenario and lets them run.

    build(scenario, seed) -> World; World.run() -> Result
"""

from svcsim.world.world import World, build

__all__ = ["World", "build"]
