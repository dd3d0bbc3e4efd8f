"""The operator's commands: one module a group, each thin over services."""
