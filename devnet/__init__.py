"""What a laptop needs instead of the outside world."""
