"""The operator's entry: `python manage.py GROUP COMMAND`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click
from flask import Flask
from flask.cli import FlaskGroup

DEVNET = "devnet"
COMMANDS = Path(__file__).parent / "app" / "commands"


class LazyGroups(FlaskGroup):
    """Imports only the group that is asked for.

    So `devnet` works without any setting of the application, and with a broken one. Each module
    of `app.commands` holds the group of its own name.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        modules = (path.stem for path in COMMANDS.glob("[!_]*.py"))
        return sorted([DEVNET, *modules])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        module = "devnet.commands" if name == DEVNET else f"app.commands.{name}"
        command: click.Command = getattr(import_module(module), name)
        return command


def create_app() -> Flask:
    """Make the application, for the groups that need it."""
    app: Flask = import_module("app").create_app()
    return app


def make_cli() -> LazyGroups:
    group = LazyGroups(
        create_app=create_app,
        add_default_commands=False,
        add_version_option=False,
        load_dotenv=False,
        help="Operate PatchProof.",
    )
    # Flask's own options choose an application and its environment file; both are given here.
    group.params.clear()
    return group


cli = make_cli()

if __name__ == "__main__":
    cli(prog_name="manage.py")
