"""The command line; each command is a file with one function that declares it and one that runs it."""

from .program import main as main
