"""A guided run of the whole system: products registered, verified, handed on and proven."""
