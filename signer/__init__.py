"""The reference signing service: a process of its own, the only place with private keys."""
