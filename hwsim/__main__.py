"""`python -m hwsim` is `hwsim`."""

from hwsim.cli.app import main

main()
