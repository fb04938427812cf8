from pathlib import Path

import pytest

PORTABLE = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")


def data_files(folder):
    """Files of a store that do not depend on where it was made."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.suffix in (".tar", ".parquet", ".arrow")
    }


@pytest.mark.slow
def test_a_portable_runner_makes_and_resumes_the_same_stores(mmfeat, toy_table, tmp_path):
    local, portable = tmp_path / "local", tmp_path / "portable"
    for folder, flags in ((local, ()), (portable, PORTABLE)):
        for arguments in (
            ("shard", toy_table, folder / "shards", "--samples-per-shard", "20", *flags),
            ("extract", folder / "shards", folder / "features", *flags),
        ):
            result = mmfeat(*arguments)
            assert result.returncode == 0, result.stderr
    for name in ("00001.tar", "00001.parquet", "00001_stats.json", "manifest.json"):
        (local / "shards" / name).unlink()  # as a kill leaves it
    flags = ("--samples-per-shard", "20", *PORTABLE)
    assert mmfeat("shard", toy_table, local / "shards", *flags).returncode == 0
    model = tmp_path / "model"
    mmfeat("train", local / "features", model, "--target", "label", "--epochs", "3")
    for folder, flags in ((local, ()), (portable, PORTABLE)):
        result = mmfeat("score", model, folder / "features", folder / "predictions", *flags)
        assert result.returncode == 0, result.stderr
    result = mmfeat("score", model, portable / "shards", tmp_path / "fused", *PORTABLE)
    assert result.returncode == 0, result.stderr
    scored = {path.name: path.read_bytes() for path in (local / "predictions/data").iterdir()}
    assert {p.name: p.read_bytes() for p in (tmp_path / "fused/data").iterdir()} == scored
    assert len(data_files(local)) == 3 * 2 + 3 * 3 + 3
    assert data_files(local) == data_files(portable)
