"""What is each probe told, what is it asked to do, and what may it send?"""

from balise_collector.fleet.cutoffs import CutOff, CutOffs
from balise_collector.fleet.desired import FleetError, FleetSettings, load_settings
from balise_collector.fleet.following import Following
from balise_collector.fleet.guard import Guard, by_probe
from balise_collector.fleet.outgoing import Fleet, new_command_id

__all__ = [
    "CutOff",
    "CutOffs",
    "Fleet",
    "FleetError",
    "FleetSettings",
    "Following",
    "Guard",
    "by_probe",
    "load_settings",
    "new_command_id",
]
