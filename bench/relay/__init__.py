"""Which line is between two hosts of this machine? `relay.c` is the line, `line.py` builds it and puts it there."""
