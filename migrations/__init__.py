"""Dated changes of the database, in raw pymongo so that they outlive the models."""
