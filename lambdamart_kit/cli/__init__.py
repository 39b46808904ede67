"""The command line: parse, call, print. No logic lives here."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of ``lambdamart-kit``."""
    from lambdamart_kit.runtime.ctrl_c import ctrl_c_was_pressed, note_ctrl_c

    note_ctrl_c()
    try:
        from lambdamart_kit.cli.app import app

        app(prog_name="lambdamart-kit")
    except SystemExit:
        raise
    except BaseException:
        # While its libraries are imported, before the application can answer, and after it has.
        if not ctrl_c_was_pressed():
            raise
        print("lambdamart-kit: stopped", file=sys.stderr)
        sys.exit(130)
