"""`python -m flotilla_client`."""

from flotilla_client.main import main

main(prog_name="flotilla")
