"""The command line: parse, call, print. No logic lives here."""

from __future__ import annotations


def main() -> None:
    """Entry point of ``lambdamart-kit``."""
    from lambdamart_kit.cli.app import app

    app(prog_name="lambdamart-kit")
