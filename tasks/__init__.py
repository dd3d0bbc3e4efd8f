"""The Celery side: thin tasks that load, call one service and say how it went."""
