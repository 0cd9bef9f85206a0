"""What a result rests on, as BibTeX: `cite`, and the bibliography behind it."""

from .bibliography import Reference as Reference, bibliography as bibliography, named_in as named_in
from .cite import Citations as Citations, cite as cite
