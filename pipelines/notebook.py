"""Run pipelines in a notebook as elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

import apache_beam.pipeline


@contextmanager
def plain_labels() -> Iterator[None]:
    """Keep the labels of transforms in this block.

    In IPython, Beam adds the number of the cell to them. For that it imports its interactive
    runner, which needs packages that mmfeat does not install, and fails with pandas 3.
    """
    change = apache_beam.pipeline.alter_label_if_ipython
    apache_beam.pipeline.alter_label_if_ipython = lambda transform, pvalue: None
    try:
        yield
    finally:
        apache_beam.pipeline.alter_label_if_ipython = change
