"""Files and outputs at URLs: object stores on loopback give what the same files give."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from _pytest.mark.structures import ParameterSet

from tests.batch.objects import ACCOUNT, KINDS, needs_azurite, object_store
from tests.batch.test_score import ROOT, error_of
from tests.batch.test_score_files import save
from tests.conftest import call, make_frame
from vaewatch.batch.job import Counts, Job
from vaewatch.batch.pipeline import run
from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.remote import in_folder, open_object, put
from vaewatch.scoring.scorer import Scorer

pytestmark = pytest.mark.filterwarnings("default")  # moto has some of its own


@pytest.fixture(scope="module")
def opened() -> Iterator[Callable[[str], str]]:
    """The bucket of a kind of store, which is started when a test first asks for it."""
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        yield cache(lambda kind: stack.enter_context(object_store(environment, kind)))


@pytest.fixture(params=KINDS)
def bucket(request: pytest.FixtureRequest, opened: Callable[[str], str]) -> str:
    """Of each kind of store, unless a test chooses."""
    return opened(request.param)


def on(kind: str, *values: object) -> ParameterSet:
    """A case of a test that chooses its store."""
    marks = needs_azurite if kind == "abfs" else ()
    return pytest.param(kind, *values, marks=marks)


def read(url: str) -> bytes:
    with open_object(url) as stream:
        return stream.read()


def fill(folder: Path, url: str) -> None:
    for path in folder.iterdir():
        put(path.read_bytes(), f"{url}/{path.name}")


@pytest.mark.parametrize(
    ("bucket", "ending"),
    [
        *(on("s3", ending) for ending in ("csv", "csv.gz", "csv.zst", "ndjson", "parquet")),
        *(on(kind, ending) for kind in ("gs", "abfs") for ending in ("csv.gz", "parquet")),
    ],
    indirect=["bucket"],
)
def test_objects_give_the_bytes_that_files_give(
    tmp_path: Path,
    bucket: str,
    scorer: Scorer,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
):
    monkeypatch.chdir(tmp_path)
    folder, url = tmp_path / "in", f"{bucket}/{ending}"
    folder.mkdir()
    for i in range(3):
        save(make_frame(2000, seed=i), folder / f"{i}.{ending}")
    fill(folder, f"{url}/in")
    here = Job((str(folder),), str(tmp_path / f"out.{ending}"), str(tmp_path / "bad.csv"))
    there = Job((f"{url}/in",), f"{url}/out.{ending}", f"{url}/bad.csv")
    counts, again = run(scorer, here), run(scorer, there)
    assert counts.to_json() == again.to_json() and counts.scored == 6000
    assert read(there.out) == Path(here.out).read_bytes()
    assert read(str(there.rejects)) == Path(str(here.rejects)).read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["bad.csv", "in", f"out.{ending}"]
    assert in_folder(url) == [f"{url}/bad.csv", f"{url}/out.{ending}"]


def test_the_command_takes_a_glob_of_objects_and_file_urls(
    tmp_path: Path, bucket: str, artifact_path: Path
):
    url = f"{bucket}/command"
    for i in range(3):
        put(make_frame(100, seed=i).write_csv().encode(), f"{url}/day-{i}/part.csv")
    put(b"not data", f"{url}/day-1/more/part.csv")
    done = call(
        *("score", artifact_path, f"{url}/day-[12]/*.csv", "--summary", f"{url}/sum.json"),
        *("--out", (tmp_path / "out 1.csv").as_uri(), "--quiet"),
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(read(f"{url}/sum.json"))
    assert summary["inputs"] == [f"{url}/day-{i}/part.csv" for i in (1, 2)]
    assert len((tmp_path / "out 1.csv").read_text().splitlines()) == 201


@pytest.mark.parametrize(
    ("bucket", "uploads"),
    [on("s3", 1), on("s3", 2), on("gs", 2), on("abfs", 2)],
    indirect=["bucket"],
)
def test_a_job_killed_before_an_upload_is_resumed(
    tmp_path: Path, bucket: str, artifact_path: Path, scorer: Scorer, uploads: int
):
    url = f"{bucket}/killed-{uploads}"
    put(make_frame(500).write_csv().encode() + b"ragged\n", f"{url}/in.csv")
    asked = (f"{url}/in.csv", "--out", f"{url}/out.csv", "--rejects", f"{url}/bad.csv")
    killed = f"""
import os, signal, obstore
from vaewatch.__main__ import main
real, left = obstore.put, [{uploads}]
def put(store, key, file, **options):
    if file != b"":  # a trial
        left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(store, key, file, **options)
obstore.put = put
main()
"""
    command = [sys.executable, "-c", killed, "score", str(artifact_path), *asked]
    drafts = ("--drafts", str(tmp_path))
    done = subprocess.run([*command, *drafts], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == -9, done.stderr
    assert (f"{url}/bad.csv" in in_folder(url)) == (uploads == 2)
    assert f"{url}/out.csv" not in in_folder(url)
    assert call("score", artifact_path, *asked, *drafts, "--resume").returncode == 0
    whole = Job((f"{url}/in.csv",), str(tmp_path / "o.csv"), str(tmp_path / "b.csv"))
    assert run(scorer, whole).scored == 500
    assert read(f"{url}/out.csv") == Path(whole.out).read_bytes()
    assert read(f"{url}/bad.csv") == Path(str(whole.rejects)).read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["b.csv", "o.csv"]


@pytest.mark.parametrize(
    "bucket",
    ["s3", pytest.param("gs", marks=pytest.mark.long), on("abfs")],
    indirect=True,
)
def test_a_job_killed_while_it_sends_leaves_no_object_and_is_resumed(
    tmp_path: Path,
    bucket: str,
    artifact_path: Path,
    scorer: Scorer,
    monkeypatch: pytest.MonkeyPatch,
):
    url = f"{bucket}/sending"
    put(make_frame(60_000).write_csv().encode(), f"{url}/in.csv")
    asked = (f"{url}/in.csv", "--out", f"{url}/out.csv", "--drafts", str(tmp_path))
    killed = """
import os, signal, obstore
from vaewatch.__main__ import main
from vaewatch.scoring.files import remote
remote.REQUEST_BYTES = 1 << 20
real = obstore.put
class Dying:
    def __init__(self, file):
        self.file, self.left = file, 6
    def __getattr__(self, name):
        return getattr(self.file, name)
    def read(self, *size):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.file.read(*size)
obstore.put = lambda store, key, file, **options: real(
    store, key, Dying(file) if options else file, **options
)
main()
"""
    command = [sys.executable, "-c", killed, "score", str(artifact_path), *asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == -9, done.stderr
    assert in_folder(url) == [f"{url}/in.csv"]
    least = 5 << 20  # that Amazon takes
    monkeypatch.setattr("vaewatch.scoring.files.remote.REQUEST_BYTES", least)
    assert call("score", artifact_path, *asked, "--resume").returncode == 0
    whole = Job((f"{url}/in.csv",), str(tmp_path / "o.csv"))
    assert run(scorer, whole).scored == 60_000
    assert read(f"{url}/out.csv") == Path(whole.out).read_bytes()
    assert Path(whole.out).stat().st_size > 5 << 20  # so it went in parts
    assert os.listdir(tmp_path) == ["o.csv"]


@pytest.mark.parametrize(
    ("bucket", "form"),
    [on("abfs", form) for form in ("az://{}", f"abfss://{{}}@{ACCOUNT}.dfs.core.windows.net")],
    indirect=["bucket"],
)
def test_azure_has_more_than_one_name_for_a_container(bucket: str, artifact_path: Path, form: str):
    url = f"{form.format(bucket.removeprefix('abfs://'))}/forms"
    put(make_frame(100).write_csv().encode(), f"{url}/in/0.csv")
    done = call("score", artifact_path, f"{url}/in/*.csv", "--out", f"{url}/out.csv", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert read(f"{bucket}/forms/out.csv").count(b"\n") == 101


def test_an_object_replaced_while_it_is_read_is_refused(
    tmp_path: Path, bucket: str, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
):
    url, frame = f"{bucket}/changing.csv", make_frame(20_000)
    put(frame.write_csv().encode(), url)
    monkeypatch.setattr("vaewatch.scoring.files.remote.REQUEST_BYTES", 1 << 16)
    monkeypatch.setattr("vaewatch.scoring.files.chunks.CHUNK_BYTES", 1 << 16)

    def replace(counts: Counts, share: float | None) -> None:
        if counts.records:
            put(frame.head(19_000).write_csv().encode(), url)

    with pytest.raises(SchemaError, match="it changed while it was read"):
        run(scorer, Job((url,), str(tmp_path / "out.csv")), replace)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("source", "out", "code", "message"),
    [
        ("ftp://host/in.csv", "-", 2, "INPUT...': must be a path, or a URL of s3://, s3a://"),
        ("in.csv", "https://host/out.csv", 2, "must be a path, or a URL of s3://"),
        ("{bucket}/no.csv", "-", 3, "there is no such object, or no such bucket."),
        ("{kind}://no-bucket/in/", "-", 3, "must be readable: there is no such {holder}."),
        ("{bucket}/empty/", "-", 3, "must hold files that end in .csv"),
        ("in.csv", "{kind}://no-bucket/out.csv", 1, "written: there is no such {holder}."),
    ],
)
def test_a_wrong_url_is_reported_in_one_line(
    tmp_path: Path,
    bucket: str,
    artifact_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    out: str,
    code: int,
    message: str,
):
    monkeypatch.chdir(tmp_path)
    make_frame(10).write_csv("in.csv")
    kind = bucket.partition(":")[0]
    holder = "container" if kind == "abfs" else "bucket"
    source, out, message = (
        text.format(bucket=bucket, kind=kind, holder=holder) for text in (source, out, message)
    )
    done = call("score", artifact_path, source, "--out", out)
    assert done.returncode == code, done.stderr
    assert message in done.stderr.splitlines()[-1]
    assert os.listdir(tmp_path) == ["in.csv"]


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_a_disk_that_fills_under_a_draft_is_reported_by_its_name(
    tmp_path: Path, bucket: str, artifact_path: Path
):
    make_frame(20_000).write_csv(tmp_path / "in.csv")
    (tmp_path / "drafts").mkdir()
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (1 << 20, 1 << 20)); "
    command = [sys.executable, "-c", limit + "from vaewatch.__main__ import main; main()", "score"]
    asked = [artifact_path, tmp_path / "in.csv", "--out", f"{bucket}/full.csv"]
    drafts = ["--drafts", tmp_path / "drafts"]
    words = [*command, *map(str, [*asked, *drafts])]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert f"'{tmp_path / 'drafts' / '.full.csv.'}" in error_of(done)
    assert ".draft' could not be written: File too large." in error_of(done)
    assert os.listdir(tmp_path / "drafts") == [] and f"{bucket}/full.csv" not in in_folder(bucket)


NOBODY = "127.0.0.1:9"  # where nothing listens


@pytest.mark.parametrize(
    ("bucket", "changed", "message"),
    [
        on(
            "s3",
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            "no credentials were found in the environment (such as AWS_ACCESS_KEY_ID)",
        ),
        on("s3", {"AWS_ENDPOINT_URL": f"http://{NOBODY}"}, "error sending request"),
        on(
            "gs",
            {"GOOGLE_SERVICE_ACCOUNT": "/no/key.json"},
            "must be readable: Unable to open service account file from /no/key.json: No such",
        ),
        pytest.param(
            "gs",
            {"GOOGLE_BEARER_TOKEN": None},
            "no credentials were found in the environment (such as GOOGLE_APPLICATION_CREDENTIALS",
            marks=pytest.mark.long,  # it asks for the role of the machine again and again
        ),
        on(
            "abfs",
            {"AZURE_STORAGE_ACCOUNT_NAME": None},
            "no account was found in the environment: set AZURE_STORAGE_ACCOUNT_NAME",
        ),
        on(
            "abfs",
            {"AZURE_STORAGE_ACCOUNT_KEY": None},
            "no credentials were found in the environment (such as AZURE_STORAGE_ACCOUNT_KEY)",
        ),
        on("abfs", {"AZURE_STORAGE_ACCOUNT_KEY": "AAAA"}, "the credentials do not allow it"),
    ],
    indirect=["bucket"],
)
def test_a_store_that_cannot_be_reached_is_reported_in_one_line(
    bucket: str, artifact_path: Path, changed: dict[str, str | None], message: str
):
    roles = {
        "AWS_METADATA_ENDPOINT": f"http://{NOBODY}",
        "AZURE_MSI_ENDPOINT": f"http://{NOBODY}/metadata/identity/oauth2/token",
        **dict.fromkeys(("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"), NOBODY),
    }
    environment = {**os.environ, **roles, **changed}
    done = subprocess.run(
        [sys.executable, "-m", "vaewatch", "score", str(artifact_path), f"{bucket}/in.csv"],
        env={name: value for name, value in environment.items() if value is not None},
        capture_output=True,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 3
    assert f"'{bucket}/in.csv' must be readable: " in error_of(done) and message in error_of(done)


def test_the_extra_is_named_where_it_is_missing(artifact_path: Path):
    floor = ROOT / ".venv-floor" / "bin" / "python"
    if not floor.exists():
        pytest.skip("needs .venv-floor: `make test` creates it")
    command = [str(floor), "-m", "vaewatch", "score", str(artifact_path), "s3://bucket/in.csv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 2
    assert error_of(done) == (
        "error: this command needs obstore: pip install 'vaewatch[cloud]'.\n"
    )


def test_a_parquet_object_goes_to_csv(tmp_path: Path, bucket: str, scorer: Scorer):
    frame, url = make_frame(300), f"{bucket}/in.parquet"
    frame.write_parquet(tmp_path / "in.parquet")
    put((tmp_path / "in.parquet").read_bytes(), url)
    run(scorer, Job((url,), str(tmp_path / "out.csv")))
    assert pl.read_csv(tmp_path / "out.csv")["order"].to_list() == frame["order"].to_list()
