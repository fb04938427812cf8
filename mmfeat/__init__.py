"""mmfeat: multimodal features at scale."""

from mmfeat.errors import MmfeatError

__version__ = "0.1.0"

__all__ = ["MmfeatError", "__version__"]
