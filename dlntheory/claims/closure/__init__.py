"""Claims about automatic closure: the equations that are found are those of the full flow, and what they need."""

from .equations import (
    closed_entry_equations as closed_entry_equations,
    closed_flow_is_the_full_flow as closed_flow_is_the_full_flow,
    closed_matrix_equations as closed_matrix_equations,
    observables_obey_the_laws as observables_obey_the_laws,
    scalar_law_closes_three_layers as scalar_law_closes_three_layers,
)
from .structure import (
    closure_counts_and_ranks as closure_counts_and_ranks,
    fifty_neurons_become_37_numbers as fifty_neurons_become_37_numbers,
    spectral_hints_close_three_layers as spectral_hints_close_three_layers,
    three_layers_do_not_close_in_words as three_layers_do_not_close_in_words,
    z_suffices_on_level_sets as z_suffices_on_level_sets,
)
