"""Run the loads of docs/warehouse.md, twice each, and compare the tables with the predictions."""

import glob
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

import mmfeat
from tests.test_docs import DOCS, code_blocks

PAGE = DOCS / "warehouse.md"


@pytest.fixture
def predictions(toy_table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mmfeat.shard(toy_table, "run/shards")
    mmfeat.extract("run/shards", "run/features")
    mmfeat.train("run/features", "run/model", target="label", fusion="logistic")
    return mmfeat.score("run/model", "run/features", "run/predictions", top_k=2)


@pytest.fixture
def database():
    """Start a Postgres of its own; returns the connection string."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    initdb = shutil.which("initdb") or next(iter(glob.glob("/usr/lib/postgresql/*/bin/initdb")), "")
    if not initdb:
        pytest.skip("no Postgres server is installed")
    # The server refuses to run as root, and the user of a package cannot read folders of pytest.
    as_user = []
    if os.getuid() == 0:
        if not shutil.which("runuser") or not Path("/etc/passwd").read_text().count("\npostgres:"):
            pytest.skip("Postgres does not run as root, and there is no user postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    folder = tempfile.mkdtemp(prefix="mmfeat-postgres-", dir="/tmp")
    if as_user:
        shutil.chown(folder, "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    binaries = Path(initdb).resolve().parent
    data = f"{folder}/data"
    control = [*as_user, str(binaries / "pg_ctl"), "--pgdata", data, "--wait"]
    options = f"-p {port} -k {folder} -c listen_addresses= -c fsync=off"
    try:
        initialize = [*as_user, initdb, "--pgdata", data, "--auth=trust", "--username=mmfeat"]
        subprocess.run(initialize, check=True, capture_output=True, cwd="/")
        log = f"{folder}/log"
        start = [*control, "--log", log, "--options", options, "start"]
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=60)
        yield f"host={folder} port={port} user=mmfeat dbname=postgres"
        stop = [*control, "--mode=immediate", "stop"]
        subprocess.run(stop, check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_twice(language):
    (code,) = code_blocks(PAGE, language)
    for _ in range(2):
        exec(compile(code, str(PAGE), "exec"), {})


def expected_rows(predictions):
    run = predictions.manifest["config_hash"]
    rows = predictions.to_arrow().to_pylist()
    return sorted((run, *row.values()) for row in rows)


@pytest.mark.slow
def test_duckdb_has_the_predictions_once(predictions):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    run_twice("python")
    with duckdb.connect("warehouse.duckdb") as connection:
        found = connection.execute("SELECT * FROM predictions").fetchall()
    assert sorted(found) == expected_rows(predictions)


@pytest.mark.slow
def test_postgres_has_the_predictions_once(predictions, database, monkeypatch):
    import psycopg

    monkeypatch.setenv("DATABASE", database)
    run_twice("py")
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT * FROM predictions").fetchall()
        keys = connection.execute(
            "SELECT count(*) FROM information_schema.table_constraints "
            "WHERE table_name = 'predictions' AND constraint_type = 'PRIMARY KEY'"
        ).fetchone()
    expected = expected_rows(predictions)
    assert [row[:5] for row in sorted(found)] == [row[:5] for row in expected]
    for row, wanted in zip(sorted(found), expected, strict=True):
        assert row[6] == wanted[6]
        assert [row[5], *row[7], *row[8:]] == pytest.approx([wanted[5], *wanted[7], *wanted[8:]])
    assert keys == (1,)


def test_the_page_names_every_column_of_the_predictions_in_each_schema():
    columns = [
        line.split("`")[1]
        for line in PAGE.read_text("utf-8").splitlines()
        if line.startswith("| `")
    ]
    assert columns[-1] == "w_<column>"
    blocks = [*code_blocks(PAGE, "sql"), *code_blocks(PAGE, "py")]
    assert len(blocks) == 3
    for block in blocks:
        for name in [*columns[:-1], "w_image", "w_text"]:
            assert name in block
