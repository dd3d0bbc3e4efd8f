"""Use cases, one module a capability; no Flask, no Celery, no wire in here."""
