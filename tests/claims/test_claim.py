import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from dlntheory.claims import Claim, Evidence, claim


class TestEvidence:
    def test_arrays_of_one_entry_become_plain_numbers(self):
        evidence = Evidence(predicted=np.int64(3), measured=jnp.asarray(2.5), error=jnp.asarray([0.5]))
        assert (evidence.predicted, evidence.measured, evidence.error) == (3, 2.5, 0.5)
        assert [type(value) for value in (evidence.predicted, evidence.measured, evidence.error)] == [
            int,
            float,
            float,
        ]

    def test_texts_may_be_predicted_and_measured(self):
        assert Evidence("intrinsic", "not intrinsic", 1).predicted == "intrinsic"

    def test_negative_error_is_refused(self):
        with pytest.raises(ValueError, match=r"`error` must be non-negative, but is -0\.001"):
            Evidence(0.0, 0.0, -1e-3)
        with pytest.raises(ValueError, match="non-negative"):
            Evidence(0.0, 0.0, float("-inf"))

    @pytest.mark.parametrize("error", ["0", None, True, 1j, np.zeros(2)])
    def test_error_must_be_a_real_number(self, error):
        with pytest.raises(TypeError, match="`error` must be a real number"):
            Evidence(0.0, 0.0, error)

    @pytest.mark.parametrize("value", [None, False, np.zeros(2)])
    def test_measured_must_be_a_number_or_text(self, value):
        with pytest.raises(TypeError, match="`measured` must be a real number"):
            Evidence(0.0, value, 0.0)

    def test_is_frozen(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            Evidence(0.0, 0.0, 0.0).error = 1.0  # pyright: ignore[reportAttributeAccessIssue]


class TestDefinition:
    def test_decorator_returns_a_claim_with_the_same_check(self, toys):
        assert isinstance(toys.passing, Claim)
        assert toys.passing.check(x=3.0).error == 2.0
        assert repr(toys.passing) == "Claim(toy-passing, paper=basics, tier=quick, tolerance=1e-9)"
        assert "x=2.0: the number is two" in str(toys.passing)

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("id", "Toy Claim", "lower-case words"),
            ("id", "toy--claim", "lower-case words"),
            ("id", "t" * 41, "at most 40"),
            ("paper", "alignmet", "must be one of basics, conservation.*is 'alignmet'"),
            ("tier", "slow", "quick, full"),
            ("statement", "  ", "non-empty"),
            ("statement", "costs 5 $", "dollar signs in pairs"),
            ("summary", "", "non-empty"),
            ("summary", "two\nlines", "one line"),
            ("summary", "x" * 111, "at most 110"),
            ("source", None, "non-empty"),
            ("control", "", "non-empty"),
            ("tolerance", 0.0, "positive finite"),
            ("tolerance", -1e-3, "positive finite"),
            ("tolerance", float("nan"), "positive finite"),
            ("tolerance", float("inf"), "positive finite"),
            ("tolerance", "1e-9", "positive finite"),
            ("tolerance", True, "positive finite"),
            ("holds", {"y": 1.0}, "fit the check"),
            ("violated", {}, "fit the check"),
            ("violated", {"x": np.ones(2)}, "hashable"),
            ("violated", [("x", 1)], "dict"),
            ("violated", {"x": 1.0}, "differ from `holds`"),
        ],
    )
    def test_bad_field_is_refused_by_name(self, toys, field, value, message):
        with pytest.raises(ValueError, match=f"(?s)`{field}`.*{message}"):
            toys.make(**{"id": "toy-bad-field", field: value})

    def test_check_must_be_a_function(self, toys):
        with pytest.raises(ValueError, match="`check` of claim 'toy-no-check' must be a function"):
            dataclasses.replace(toys.passing, id="toy-no-check", check=3)

    def test_arguments_cannot_be_changed_later(self, toys):
        with pytest.raises(TypeError):
            toys.passing.violated["x"] = 1.0

    def test_id_may_be_defined_again_in_one_place_only(self, toys):
        toys.make("toy-twice")
        toys.make("toy-twice")

        with pytest.raises(
            ValueError, match=r"unique, but 'toy-twice' of .*elsewhere is taken by .*distance_to_one"
        ):

            @claim(
                id="toy-twice",
                paper="basics",
                statement="$x$",
                summary="x",
                source="x",
                tolerance=1.0,
                holds={"x": 1},
                violated={"x": 2},
                control="x",
            )
            def elsewhere(x):
                return Evidence(1, x, 0)

    def test_statement_is_shown_as_mathematics(self, toys):
        assert toys.passing._repr_latex_() == toys.passing.statement
        assert toys.make("toy-formula", statement=r"x \geq 1")._repr_latex_() == r"$x \geq 1$"
