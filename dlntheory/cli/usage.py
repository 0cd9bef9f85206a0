"""Exit statuses, and the error of a wrong call, which ends in one line on stderr."""

FAILED, WRONG_CALL, INTERRUPTED, READER_GONE = 1, 2, 130, 141


class UsageError(Exception):
    """A call that argparse cannot see to be wrong, such as an unknown claim."""


def one_line(error: BaseException | str) -> str:
    """A message on one line; for an exception that is not ours with its type in front."""
    text = " ".join(str(error).split())
    if isinstance(error, str) or text.startswith("Argument `"):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
