"""ARC's REST wire: submit, ask, and read the policy."""
