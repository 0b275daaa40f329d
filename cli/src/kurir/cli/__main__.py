"""`python -m kurir.cli` is `kurir`."""

from kurir.cli.main import main

main()
