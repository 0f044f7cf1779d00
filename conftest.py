"""What the tests and `pytest --nbval lessons/` need, wherever they are started from."""

import os
from pathlib import Path

HERE = Path(__file__).parent


def pytest_configure(config):
    # nbval opens the sanitize file relative to the working directory; anchor it to the repository.
    if getattr(config.option, "nbval_sanitize_with", None) is None:
        config.option.nbval_sanitize_with = str(HERE / "nbval_sanitize.cfg")
    # Tests and notebooks run by tests leave the progress of whoever runs them alone.
    os.environ.setdefault("FTCOURSE_PROGRESS", "off")
