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
    help_format="plaintext",
    help="""How fast, how much energy, how accurate is a vision transformer on hardware that may not exist yet?

Start with:    hwsim explore arch_specs/optical4f.yaml
or one point:  hwsim estimate optical4f deit_small""",
)
# The one-line help stands here so that `hwsim --help` imports no command.
_COMMANDS = {
    "list": "List archs, workloads, models, backends or transforms.",
    "show": "Show an arch's fields, or a workload's ops, MACs, params, bytes and intensity.",
    "estimate": "Estimate latency, energy and area of a workload on an arch.",
    "execute": "Run a workload in an arch's own arithmetic and report its accuracy.",
    "explain": "Print how one op's latency and energy come about.",
    "explore": "Search the design space of an arch and show the Pareto front.",
    "measure": "Run workloads on the GPU of this machine and record time, power and energy.",
    "compare": "Compare predictions with a measured file.",
    "report": "Draw the page and the pictures of a finished run again.",
    "study": "Run a comparison again, or check that its figures still hold.",
    "doctor": "Check the installation and say what each missing part disables.",
}
for _order, (_name, _help) in enumerate(_COMMANDS.items()):
    app.command(f"hwsim.cli.{_name}:run", name=_name, help=_help, sort_key=_order)


def main() -> None:
    """Run the command line; errors of ours become one message on stderr and the exit code of their class."""
    try:
        code = app(sys.argv[1:])
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
