"""How is one channel received for some seconds, and left again? In a process of its own: `python -m …tv`."""
