"""``python -m remora`` is the ``remora`` command."""

from remora.cli.app import run

if __name__ == "__main__":
    run()
