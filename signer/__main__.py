"""Entry of `python -m signer`."""

from signer.cli import cli

if __name__ == "__main__":
    cli(prog_name="python -m signer")
