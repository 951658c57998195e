"""How long does a sample wait for what may not come?

Apart from the sample, whose analyser the agent itself does not need.
"""

FIRST_S = 5.0  # for the first packet: 100 times what a join takes
START_S = 8.0  # for the first random access: longer than any GOP in use
LEAVE_S = 5.0  # for the last packet after a leave


def most_s(listen_s: float) -> float:
    """A whole sample at the longest."""
    return FIRST_S + max(START_S, listen_s) + LEAVE_S
