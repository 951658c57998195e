"""How good was it, and of how many measurements is that known? Sketches, hours, windows and months."""
