"""What does a newcomer see? The real programs on loopback, with short intervals, looked at from outside."""
