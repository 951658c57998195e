"""How is a simulated town set before the real collector and its judge?

`direct`: its rows are handed to the judge. `full`: its messages go through decoding, journal and consumers on a virtual
clock. `live`: its homes speak MQTT to a real broker in real time. The only place that knows both town and judge.
"""
