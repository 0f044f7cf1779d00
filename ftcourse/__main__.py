"""`python -m ftcourse` is the command `ftcourse`."""

from ftcourse.cli import app

app()
