"""`python -m identmetric_cli` is the same program as `identmetric`."""

from identmetric_cli.cli.app import main

main()
