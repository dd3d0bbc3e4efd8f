"""A regtest chain behind the wires of WhatsOnChain and ARC, in one process."""
