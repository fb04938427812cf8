"""Lets `pip install .` and Beam's `--setup_file=./setup.py` build the same package.

All metadata stands in pyproject.toml.
"""

from setuptools import setup

setup()
