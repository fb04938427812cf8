"""The version of mmfeat."""

__version__ = "0.1.0"
