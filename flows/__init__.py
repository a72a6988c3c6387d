"""Prefect flows and the command line: thin. The work is in `tasks`."""
