"""Claims: each theorem that the package builds on, with the check that can refute it. One file a paper."""

from .base import PAPERS as PAPERS, Claim as Claim, Paper as Paper, claim as claim
from .curves import Curves as Curves
from .evidence import Evidence as Evidence, Interval as Interval
from .registry import SelectionError as SelectionError, claims as claims, papers as papers
from .results import ClaimStatus as ClaimStatus, Report as Report, Result as Result
from .runner import run_claims as run_claims, verify as verify
