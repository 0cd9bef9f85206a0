"""What a result rests on, as BibTeX: `cite`, and the bibliography behind it."""

from .bibliography import (
    Reference as Reference,
    bibliography as bibliography,
    cited_in as cited_in,
    in_words as in_words,
)
from .cite import Citations as Citations, cite as cite
