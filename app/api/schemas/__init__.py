"""What requests must look like and what answers look like, in the names of the contract."""
