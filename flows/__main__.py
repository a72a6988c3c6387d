"""`python -m flows` is `qingyuan`."""

from flows.cli import main

if __name__ == "__main__":
    main(prog_name="qingyuan")
