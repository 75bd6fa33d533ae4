"""Algorithms: what each one that the registry names owes to the rest of Lesion."""

from __future__ import annotations

import pytest

from lesion.algorithms.registry import ALGORITHMS, find_algorithm, parse_hyperparameters
from lesion.errors import UserError


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_is_called_as_the_registry_calls_it(name):
    algorithm = find_algorithm(name)
    assert algorithm.name == name
    found, config = parse_hyperparameters({"algorithm": name})
    assert found is algorithm and isinstance(config, algorithm.config)


def test_an_algorithm_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(UserError, match=r"no algorithm is called 'clasify' .*Did you mean classify") as refused:
        parse_hyperparameters({"algorithm": '"clasify"', "epochs": "3"})
    assert refused.value.kind == "hyperparameters"
    with pytest.raises(UserError, match="This version knows classify"):
        parse_hyperparameters({"algorithm": "segment"})
