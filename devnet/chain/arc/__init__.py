"""ARC's REST wire."""

from flask import Blueprint

blueprint = Blueprint("arc", __name__)
