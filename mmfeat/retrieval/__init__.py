"""`mmfeat search`: the records of a feature store that are nearest to a record, a text or an image.

`search` loads encoders only for a text or an image, so importing this package loads no torch.
"""

from mmfeat.retrieval.config import SearchConfig
from mmfeat.retrieval.search import SearchResult, search
from mmfeat.retrieval.write_result import write_result

__all__ = ["SearchConfig", "SearchResult", "search", "write_result"]
