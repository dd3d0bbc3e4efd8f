"""MongoEngine documents and their atomic operations: the only place where a status changes."""
