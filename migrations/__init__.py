"""Dated changes of the database, in raw pymongo so that they outlive the models.

A file `YYYYMMDD_what_it_does.py` has a docstring that says why, and `up(database, log)`. It can be
repeated from any point: it is recorded at its end only. See docs/operations/migrations.md.
"""
