"""Show the result of a search: printed, as Parquet, or as a page with thumbnails."""

import pyarrow.parquet as pq

from mmfeat.pages import render_page
from mmfeat.retrieval.config import SearchConfig
from mmfeat.retrieval.search import SearchResult
from mmfeat.storage import files
from mmfeat.system import print_out, show_table

_MAX_RECORDS = 200
"""Most records on a page."""


def write_result(config: SearchConfig, result: SearchResult) -> None:
    """Write the result to --output, or print it."""
    how = "exactly" if result.exact else "by an index, then exactly"
    title = f"nearest to {result.title} in column {result.column}, compared {how}"
    if not config.output:
        names = [name for name in result.table.column_names if name != "shard"]
        rows = result.table.select(names).to_pylist()
        show_table(title, names, [["-" if v is None else v for v in row.values()] for row in rows])
        return
    with files.create(config.output) as output:
        if config.output.lower().endswith(".parquet"):
            pq.write_table(result.table, output, compression="zstd")
        else:
            output.write(_make_page(config, result, title).encode("utf-8", "replace"))
    print_out(f"{title}: {config.output}")


def _make_page(config: SearchConfig, result: SearchResult, title: str) -> str:
    from mmfeat.inspection import SourceRecords, open_rows

    rows = result.table.slice(0, _MAX_RECORDS).to_pylist()
    source = SourceRecords(open_rows(config.features))
    keys: dict[str, list[str]] = {}
    for row in rows:
        keys.setdefault(row["shard"], []).append(row["__key__"])
    own = ("rank", "score", "__key__", "shard")
    return render_page(
        "mmfeat.retrieval",
        "search.html",
        title=title,
        features=config.features,
        records=[(row, {n: v for n, v in row.items() if n not in own}) for row in rows],
        previews=source.read_media(keys, sounds=False),
        problem=source.problem,
    )
