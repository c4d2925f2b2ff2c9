"""The `hwsim` command: parse, call, print. One module per command; heavy imports wait until a command needs them."""

from __future__ import annotations

import os
import sys

from cyclopts import App

import hwsim
from hwsim.core.errors import EXIT_INTERRUPTED, HwsimError

app = App(
    name="hwsim",
    version=hwsim.__version__,
    help="""How fast, how much energy, how accurate is a vision transformer on hardware that may not exist yet?

    Start with:  hwsim explore arch_specs/optical4f.yaml
    or one point:  hwsim estimate optical4f deit_small
    """,
)
for _name in ("list", "show", "estimate", "explain", "explore", "report", "doctor"):
    app.command(f"hwsim.cli.{_name}:run", name=_name)


def main() -> None:
    """Run the command line; errors of ours become one message on stderr and the exit code of their class."""
    try:
        code = app()
        sys.stdout.flush()
    except HwsimError as error:
        print(error.render(), file=sys.stderr)  # noqa: T201
        code = error.exit_code
    except KeyboardInterrupt:
        print("interrupted; repeat the command to resume", file=sys.stderr)  # noqa: T201
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
