"""How many bits a second does a line carry, each way?

Four TCP streams of random bytes between a probe and `balise target`, counted where they arrive. Both programs use these
files: what drains a download on the probe drains an upload on the target.
"""
