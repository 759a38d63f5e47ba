import http.server
import io
import os
import ssl
import stat
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager
from pathlib import Path

from support import download
from support.albert_tiny import albert_tiny
from support.architecture import CheckpointError
from support.download import find_checkpoint

import pytest
import trustme

from albert_checkpoints import SMALL, write_folder

NAME, ARCHIVE = "albert_tiny_zh", "albert_tiny.zip"


def packed(files):
    """A zip archive of (name or ZipInfo, content) pairs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """The files of a good checkpoint of each variant."""
    folder = tmp_path_factory.mktemp("good")
    files = {}
    for variant in ("brightmart", "google"):
        write_folder(folder / variant, variant, **SMALL)
        paths = sorted((folder / variant).iterdir())
        files[variant] = [(path.name, path.read_bytes()) for path in paths]
    return files


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@contextmanager
def serving(authority, answer, secure=True):
    """A local server; yields its address and the list of paths it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            answer(self)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http{'s' * secure}://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(content, length=None, told=True):
    """An answer with `content`; a header says its length, or another `length`."""

    def answer(request):
        request.send_response(200)
        if told:
            request.send_header("Content-Length", str(length or len(content)))
        request.end_headers()
        request.wfile.write(content)

    return answer


def redirect(address):
    def answer(request):
        request.send_response(302)
        request.send_header("Location", address)
        request.end_headers()

    return answer


@pytest.fixture
def home(tmp_path, monkeypatch, authority):
    """Keras' home, empty; the server's authority is trusted and no proxy is asked."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "home" / "keras_mlc"


@pytest.fixture
def serve(home, monkeypatch, authority):
    @contextmanager
    def serve(answer):
        with serving(authority, answer) as (address, asked):
            monkeypatch.setattr(download, "SOURCE", address)
            yield asked

    return serve


def left(home):
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


@pytest.mark.parametrize("inside", ["", "albert_tiny/"])
def test_a_good_archive_is_kept_and_works_offline(serve, contents, home, inside):
    files = [(inside + name, content) for name, content in contents["brightmart"]]
    with serve(send(packed([*files, ("__MACOSX/._albert_model.ckpt.index", b"")]))) as asked:
        folder = find_checkpoint(NAME)
    assert folder == home / NAME and asked == [f"/{ARCHIVE}"]
    for name, content in contents["brightmart"]:
        assert (folder / name).read_bytes() == content
    assert [path.name for path in home.iterdir()] == [NAME]
    assert albert_tiny(NAME).architecture.variant == "brightmart"  # the server is gone


def test_the_public_names(serve, contents, home):
    for name, archive, variant in (
        ("albert_tiny_489k", "albert_tiny_489k.zip", "brightmart"),
        ("albert_tiny_zh_google", "albert_tiny_zh_google.zip", "google"),
    ):
        with serve(send(packed(contents[variant]))) as asked:
            assert albert_tiny(name).architecture.variant == variant
        assert asked == [f"/{archive}"]


def test_a_folder_is_taken_as_it_is(home, tmp_path, monkeypatch):
    assert find_checkpoint(tmp_path / "x") == tmp_path / "x"
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir()
    assert find_checkpoint(NAME) == Path(NAME)
    assert not home.exists()


def test_a_redirect_within_https_is_followed(serve, contents, home, authority):
    with (
        serving(authority, send(packed(contents["brightmart"]))) as (address, _),
        serve(redirect(f"{address}elsewhere.zip")),
    ):
        assert find_checkpoint(NAME).is_dir()


def test_a_redirect_to_http_is_refused(serve, contents, home, authority):
    good = send(packed(contents["brightmart"]))
    with (
        serving(authority, good, secure=False) as (address, asked),
        serve(redirect(f"{address}{ARCHIVE}")),
        pytest.raises(CheckpointError, match=r"redirected to http://.*, which is not https"),
    ):
        find_checkpoint(NAME)
    assert asked == [] and left(home) == []


def test_plain_http_is_not_spoken(contents, home, authority, monkeypatch):
    good = send(packed(contents["brightmart"]))
    with serving(authority, good, secure=False) as (address, asked):
        monkeypatch.setattr(download, "SOURCE", address)
        with pytest.raises(CheckpointError, match="unknown url type: http"):
            find_checkpoint(NAME)
    assert asked == []


def test_a_server_of_an_unknown_authority_is_refused(serve, contents, home, monkeypatch, tmp_path):
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))
    with (
        serve(send(packed(contents["brightmart"]))) as asked,
        pytest.raises(CheckpointError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        find_checkpoint(NAME)
    assert asked == [] and left(home) == []


def test_without_a_network_it_says_what_to_fetch_and_where_to_put_it(
    home, contents, authority, monkeypatch
):
    with serving(authority, send(b"")) as (address, _):
        pass  # nobody listens there any more
    monkeypatch.setattr(download, "SOURCE", address)
    with pytest.raises(CheckpointError) as error:
        find_checkpoint(NAME)
    assert f"{address}{ARCHIVE} could not be downloaded" in str(error.value)
    assert "refused" in str(error.value) and f"into {home}: it is then" in str(error.value)
    (home / ARCHIVE).write_bytes(packed(contents["brightmart"]))
    assert find_checkpoint(NAME) == home / NAME


def test_an_answer_that_is_an_error(serve, home):
    with (
        serve(lambda request: request.send_error(404)),
        pytest.raises(CheckpointError, match=r"could not be downloaded .HTTP Error 404"),
    ):
        find_checkpoint(NAME)
    assert left(home) == []


def damaged(files):
    """The same archive with a flipped byte in the middle of the largest file's data."""
    content = bytearray(packed(files))
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


def damaged_lzma(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("albert_model.ckpt.index", b"".join(content for _, content in files))
    content = bytearray(buffer.getvalue())
    content[100:200] = b"\xff" * 100
    return bytes(content)


def link(target):
    member = zipfile.ZipInfo("albert_model.ckpt.data-00000-of-00001")
    member.create_system = 3  # Unix
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member, target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda good: packed(good)[:3000], "not a zip file"),
        (damaged, "Bad CRC-32|decompress"),
        (damaged_lzma, "Corrupt input data"),
        (lambda good: b"<html>Not here</html>", "not a zip file"),
        (lambda good: packed([]), "one .index file was expected, 0 found"),
        (lambda good: packed([("readme.txt", b"hello")]), "one .index file was expected, 0 found"),
        (lambda good: packed([("a.index", b""), ("b.index", b"")]), "2 found"),
        (lambda good: packed([f for f in good if ".data" not in f[0]]), "there is no such file"),
        (lambda good: packed([f for f in good if "vocab" not in f[0]]), "vocab.txt: there is no"),
        (lambda good: packed([f for f in good if "config" not in f[0]]), r"one \*config\*.json"),
        (
            lambda good: packed([(n, c[:500] if ".data" in n else c) for n, c in good]),
            "or damaged",
        ),
        (lambda good: packed([*good, ("../evil", b"x")]), r"'../evil' leaves the folder"),
        (lambda good: packed([*good, ("a/../../evil", b"x")]), "leaves the folder"),
        (
            lambda good: packed([*good, ("/tmp/keras_mlc_evil", b"x")]),
            "'/tmp/keras_mlc_evil' leaves the folder",
        ),
        (lambda good: packed([*good, ("C:\\evil", b"x")]), "leaves the folder"),
        (lambda good: packed([link("/etc/passwd"), *good]), "is a link or a device"),
        (lambda good: packed([*good, *((f"{i}", b"") for i in range(101))]), "members, at most"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_wrong_archive_is_refused_and_leaves_nothing(serve, contents, home, change, message):
    with (
        serve(send(change(contents["brightmart"]))),
        pytest.raises(CheckpointError, match=f"(?s)^{ARCHIVE} is not the expected.*({message})"),
    ):
        find_checkpoint(NAME)
    assert left(home) == []
    assert not (home.parent / "evil").exists() and not Path("/tmp/keras_mlc_evil").exists()


def test_the_other_variant_is_refused(serve, contents, home):
    with (
        serve(send(packed(contents["google"]))),
        pytest.raises(CheckpointError, match="a brightmart checkpoint was expected, not google"),
    ):
        find_checkpoint(NAME)
    assert left(home) == []


def test_a_download_that_is_cut_off(serve, contents, home):
    content = packed(contents["brightmart"])
    with (
        serve(send(content[:5000], len(content))),
        pytest.raises(CheckpointError, match=r"cut off after 5,000 of [\d,]+ bytes"),
    ):
        find_checkpoint(NAME)
    assert left(home) == []


def test_no_more_is_downloaded_and_unpacked_than_allowed(serve, contents, home, monkeypatch):
    content = packed([*contents["brightmart"], ("zeros", bytes(1_000_000))])
    monkeypatch.setattr(download, "MOST_BYTES", 900_000)
    assert len(content) < 900_000
    with serve(send(content)), pytest.raises(CheckpointError, match="unpacked, at most 900,000"):
        find_checkpoint(NAME)
    monkeypatch.setattr(download, "MOST_BYTES", 5_000)
    for told in (True, False):
        with (
            serve(send(content, told=told)),
            pytest.raises(CheckpointError, match=r"more than 5,000 bytes"),
        ):
            find_checkpoint(NAME)
    assert left(home) == []


def test_an_archive_that_lies_about_its_sizes(serve, contents, home):
    content = bytearray(packed([*contents["brightmart"], ("zeros", bytes(1_000_000))]))
    place = content.rindex(b"zeros") - 46 + 24  # the size in the list of members
    content[place : place + 4] = (10).to_bytes(4, "little")
    with serve(send(bytes(content))), pytest.raises(CheckpointError, match="Bad CRC-32"):
        find_checkpoint(NAME)
    assert left(home) == []


def test_another_process_may_be_faster(serve, contents, home):
    content = packed(contents["brightmart"])

    def answer(request):
        write_folder(home / NAME, "brightmart", **SMALL)
        send(content)(request)

    with serve(answer):
        assert find_checkpoint(NAME) == home / NAME
    assert [path.name for path in home.iterdir()] == [NAME]


def test_a_cache_that_cannot_be_written(home):
    home.parent.write_text("")
    with pytest.raises(
        CheckpointError, match=r"cannot be written \(Not a directory\). Set KERAS_HOME"
    ):
        find_checkpoint(NAME)


def test_the_command_line_says_it_too(home, pytestconfig, authority):
    """Nothing is reached through a proxy that refuses."""
    script = pytestconfig.rootpath / "examples" / "sigmoid.py"
    with serving(authority, send(b"")) as (address, _):
        pass
    environment = {**os.environ, "https_proxy": address.replace("https", "http"), "NO_PROXY": ""}
    done = subprocess.run(
        [sys.executable, str(script), "--checkpoint", NAME],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"https://storage.googleapis.com/albert_zh/{ARCHIVE} could not be" in done.stderr
    assert str(home) in done.stderr
