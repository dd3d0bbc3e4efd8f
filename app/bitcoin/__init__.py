"""Bitcoin formats as pure functions and values; bitcoinx is seen nowhere else."""
