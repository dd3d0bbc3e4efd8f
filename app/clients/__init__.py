"""Clients of outside services: one service a module, typed outcomes, no decisions about money."""
