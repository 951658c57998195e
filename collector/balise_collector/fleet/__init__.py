"""What is each probe told, and what is it asked to do?"""

from balise_collector.fleet.desired import FleetError, FleetSettings, load_settings
from balise_collector.fleet.outgoing import Fleet, new_command_id

__all__ = ["Fleet", "FleetError", "FleetSettings", "load_settings", "new_command_id"]
