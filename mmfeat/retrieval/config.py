"""Options of `mmfeat search`."""

from dataclasses import dataclass
from typing import Annotated

from mmfeat.config import FeaturesPath, RepeatedFlag, metavar
from mmfeat.errors import MmfeatError

_SUFFIXES = (".parquet", ".html")


@dataclass(frozen=True)
class SearchConfig:
    """Find the records whose vectors have the highest cosine to a query.

    The query is a record of the store (--like), a text or an image file. Small columns are compared
    exactly. For large ones, a FAISS index is built once, beside the store.
    """

    features: FeaturesPath
    """Output directory of `mmfeat extract`."""
    like: Annotated[str, metavar("KEY")] = ""
    """Key of the record to find similar ones of."""
    text: str = ""
    """Text to find records of. The searched column must share a space with texts."""
    image: Annotated[str, metavar("FILE")] = ""
    """Image file to find records of. The searched column must share a space with images."""
    column: str = ""
    """Feature column to search. The default is the first one that can be compared with the
    query."""
    encoder: Annotated[str, metavar("SCHEME:NAME")] = ""
    """Encoder of --text or --image, as in `mmfeat extract --encoder`, for example
    open_clip:ViT-B-32/laion2b_s34b_b79k. Built-in ones are known; others must be named, since the
    store of a stranger must not choose what is loaded."""
    model: Annotated[str, metavar("MODEL")] = ""
    """Output of `mmfeat train --task align`: compare in its space, which its columns share."""
    count: int = 10
    """Number of records to find."""
    columns: RepeatedFlag = ()
    """Columns of the samples table to show, for example label,sku. May be repeated."""
    output: Annotated[str, metavar("FILE")] = ""
    """File for the result: .parquet for a table, .html for a page with thumbnails. The default is
    to print it."""
    exact_below: int = 200_000
    """Number of vectors from which an index is used, if faiss is installed."""
    index_memory: int = 1024
    """Megabytes that an index may take."""

    def __post_init__(self) -> None:
        queries = {"--like": self.like, "--text": self.text, "--image": self.image}
        given = [flag for flag, value in queries.items() if value]
        if len(given) != 1:
            raise MmfeatError(
                f"a search needs one of {', '.join(queries)}", got=", ".join(given) or None
            )
        if not 1 <= self.count <= 10_000:
            raise MmfeatError("--count must be from 1 to 10,000", got=self.count)
        if self.exact_below < 0:
            raise MmfeatError("--exact-below must not be negative", got=self.exact_below)
        if self.index_memory < 1:
            raise MmfeatError("--index-memory must be at least 1", got=self.index_memory)
        if self.output and not self.output.lower().endswith(_SUFFIXES):
            raise MmfeatError(
                f"--output must end in {' or '.join(_SUFFIXES)}",
                got=self.output,
                cure="Leave it out to print the result",
            )
