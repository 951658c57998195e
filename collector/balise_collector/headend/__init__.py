"""What does a small head-end send? Valid transport streams over multicast, and what can be wrong with them."""
