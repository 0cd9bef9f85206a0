"""The outcome of `verify` as one HTML page that needs no network, and as JSON."""

from .writing import prepare_directory as prepare_directory, write_report as write_report
