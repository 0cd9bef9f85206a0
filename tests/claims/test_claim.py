import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

from dlntheory.claims import Claim, Evidence, Interval, claim


class TestEvidence:
    def test_numbers_and_the_error_cannot_disagree(self):
        evidence = Evidence(predicted=np.int64(3), measured=jnp.asarray(2.5))
        assert (evidence.predicted, evidence.measured, evidence.error) == (3, 2.5, 0.5)
        assert [type(value) for value in (evidence.predicted, evidence.measured)] == [int, float]
        with pytest.raises(TypeError, match="error"):
            Evidence(1.0, 1.0, error=0.0)  # pyright: ignore[reportCallIssue]

    def test_arrays_show_the_entry_with_the_largest_error(self):
        evidence = Evidence([[1.0, 2.0], [4.0, 8.0]], np.array([[1.0, 2.1], [4.4, 8.2]]), scale=2.0)
        assert (evidence.predicted, evidence.scale) == (4.0, 2.0)
        assert evidence.measured == pytest.approx(4.4)
        assert evidence.error == pytest.approx(0.2)
        relative = Evidence([1.0, 10.0], [1.1, 10.5], scale=[1.0, 10.0])
        assert relative.predicted == 1.0
        assert relative.error == pytest.approx(0.1)

    def test_matrices_of_several_shapes_are_one_list_of_entries(self):
        evidence = Evidence([np.eye(2), np.zeros((1, 3))], [np.eye(2), np.array([[0.0, 0.0, 0.3]])])
        assert (evidence.predicted, evidence.measured, evidence.error) == (0.0, 0.3, 0.3)

    def test_nan_is_the_largest_error(self):
        assert math.isnan(Evidence([0.0, 0.0, 0.0], [1.0, float("nan"), 2.0]).error)
        assert math.isnan(Evidence(Interval(high=1.0), [0.0, float("nan")]).error)
        assert Evidence(0.0, float("inf")).error == float("inf")
        parts = [Evidence(0.0, 1.0), Evidence(0.0, float("nan")), Evidence(0.0, 2.0)]
        assert math.isnan(Evidence.worst(parts).error)
        assert Evidence.worst(parts, best=True).error == 1.0

    @pytest.mark.parametrize(
        ("low", "high", "measured", "error"),
        [(-1.0, 1.0, 0.5, 0.0), (-1.0, 1.0, 1.5, 0.5), (-1.0, 1.0, -3.0, 2.0), (0.0, float("inf"), 1e9, 0.0)],
    )
    def test_a_bound_is_an_interval(self, low, high, measured, error):
        assert Evidence(Interval(low, high), measured).error == pytest.approx(error, rel=1e-14, abs=1e-15)

    def test_a_bound_that_is_far_off_fails(self):
        bound = 2.0
        assert Evidence(Interval(bound / 10, bound), 1.0, scale=bound).error == 0.0
        assert Evidence(Interval(100 * bound, 1000 * bound), 1.0, scale=1000 * bound).error > 0.09

    @pytest.mark.parametrize(
        ("one", "other"), [("intrinsic", "not intrinsic"), ((1, 2), (2, 1)), ((1, 2), (1,))]
    )
    def test_texts_and_tuples_are_equal_or_not(self, one, other):
        assert Evidence(one, one).error == 0.0
        assert Evidence(one, other).error == 1.0

    @pytest.mark.parametrize(
        ("predicted", "measured"),
        [
            (1.0, None),
            (1.0, "1"),
            (1.0, True),
            (1.0, 1j),
            (1.0, []),
            ("a", 1.0),
            ((1, 2), [1, 2]),
            (None, 1.0),
        ],
    )
    def test_other_kinds_are_refused(self, predicted, measured):
        with pytest.raises(TypeError, match=r"Argument `(predicted|measured)` must be"):
            Evidence(predicted, measured)

    def test_shapes_and_scale_are_checked(self):
        with pytest.raises(
            ValueError, match=r"`measured` must have the shape of `predicted`, \(2,\), but has \(3,\)"
        ):
            Evidence([1.0, 2.0], [1.0, 2.0, 3.0])
        with pytest.raises(ValueError, match="`scale` must not be 0"):
            Evidence(0.0, 1.0, scale=0.0)

    def test_worst_lists_its_parts(self):
        worst = Evidence.worst({"first": Evidence(0.0, 1e-3), "second": Evidence(2.0, 1.0)}, detail="of two")
        assert (worst.predicted, worst.measured, worst.error) == (2.0, 1.0, 1.0)
        assert worst.detail == "of two; first: 1.0e-03, second: 1.0e+00"

    def test_is_frozen(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            Evidence(0.0, 0.0).error = 1.0  # pyright: ignore[reportAttributeAccessIssue]


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
            ("summary", "x" * 111, "at most 110"),
            ("source", None, "non-empty"),
            ("control", "", "non-empty"),
            ("tolerance", 0.0, "positive finite"),
            ("tolerance", -1e-3, "positive finite"),
            ("tolerance", float("nan"), "positive finite"),
            ("tolerance", float("inf"), "positive finite"),
            ("tolerance", "1e-9", "positive finite"),
            ("tolerance", True, "positive finite"),
            ("arguments", {"y": 1.0}, "fit the check"),
            ("control_arguments", {}, "fit the check"),
            ("control_arguments", {"x": np.ones(2)}, "hashable"),
            ("control_arguments", [("x", 1)], "dict"),
            ("control_arguments", {"x": 1.0}, "differ from `arguments`"),
            ("breaks", "formula", "hypothesis, prediction"),
        ],
    )
    def test_bad_field_is_refused_by_name(self, toys, field, value, message):
        with pytest.raises(ValueError, match=f"(?s)`{field}`.*{message}"):
            toys.make(**{"id": "toy-bad-field", field: value})

    def test_id_and_summary_come_from_the_function_and_paper_from_its_package(self):
        fields = {
            "statement": "$x$",
            "source": "x",
            "tolerance": 1.0,
            "arguments": {"x": 1},
            "control_arguments": {"x": 3},
            "control": "x is 3",
        }

        def toy_named_by_its_function(x):
            """The number is one.

            More words.
            """
            return Evidence(1, x)

        toy_named_by_its_function.__module__ = "dlntheory.claims.mean_field.toys"
        made = claim(**fields)(toy_named_by_its_function)
        assert (made.id, made.paper, made.summary) == (
            "toy-named-by-its-function",
            "mean-field",
            "The number is one.",
        )
        assert (made.breaks, made.topic.key) == ("hypothesis", "mean-field")
        toy_named_by_its_function.__module__ = "my_notebook"
        with pytest.raises(ValueError, match="`paper` of claim"):
            claim(**fields)(toy_named_by_its_function)

    def test_check_must_be_a_function(self, toys):
        with pytest.raises(ValueError, match="`check` of claim 'toy-no-check' must be a function"):
            dataclasses.replace(toys.passing, id="toy-no-check", check=3)

    def test_arguments_cannot_be_changed_later(self, toys):
        with pytest.raises(TypeError):
            toys.passing.control_arguments["x"] = 1.0

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
                source="x",
                tolerance=1.0,
                arguments={"x": 1},
                control_arguments={"x": 2},
                control="x",
            )
            def elsewhere(x):
                "x"
                return Evidence(1, x)

    def test_statement_is_shown_as_mathematics(self, toys):
        assert toys.passing._repr_latex_() == toys.passing.statement
        assert toys.make("toy-formula", statement=r"x \geq 1")._repr_latex_() == r"$x \geq 1$"
