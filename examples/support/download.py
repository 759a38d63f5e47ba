"""Checkpoints by name: downloaded once, and kept in a cache.

Presets of KerasHub, and what has an address at Kaggle or Hugging Face, their own packages fetch.
The public albert-tiny checkpoints are archives that no package knows.
"""

import lzma
import os
import re
import shutil
import ssl
import stat
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from support.architecture import CheckpointError

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

SOURCE = "https://storage.googleapis.com/albert_zh/"
PUBLIC = {  # name: archive, variant
    "albert_tiny_zh": ("albert_tiny.zip", "brightmart"),
    "albert_tiny_489k": ("albert_tiny_489k.zip", "brightmart"),
    "albert_tiny_zh_google": ("albert_tiny_zh_google.zip", "google"),
}
# The archives have a handful of files, of some 100 MB with the optimizer's state.
MOST_BYTES = 500_000_000
MOST_MEMBERS = 100
TIMEOUT = 30
CHUNK = 1 << 16


def cache():
    """The folder of all downloaded checkpoints, in Keras' home."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return Path(home) / "keras_mlc"


def find_checkpoint(name):
    """The folder of a checkpoint: a path as it is, or what a name stands for, in a cache.

    Names are those of `PUBLIC`, of presets of KerasHub, as `bert_tiny_en_uncased`, and addresses
    as `kaggle://…` and `hf://user/model`.
    """
    if Path(name).is_dir():
        return Path(name)
    if name in PUBLIC:
        return find_public(name)
    name = str(name)
    if name.startswith("hf://"):
        return fetched(name, from_hugging_face)
    if name.startswith("kaggle://"):
        return fetched(name, from_kaggle)
    if re.fullmatch(r"[a-z0-9._]+", name):
        import keras_hub

        if preset := keras_hub.models.Backbone.presets.get(name):
            return fetched(preset["kaggle_handle"], from_kaggle)
    return Path(name)


def from_kaggle(address):
    import kagglehub

    return kagglehub.model_download(address.removeprefix("kaggle://"))


def from_hugging_face(address):
    import huggingface_hub

    patterns = ["*.json", "vocab.txt", "model.safetensors", "model.weights.h5", "assets/*"]
    name = address.removeprefix("hf://")
    folder = huggingface_hub.snapshot_download(name, allow_patterns=patterns)
    if not any(Path(folder, weights).exists() for weights in patterns[2:4]):
        folder = huggingface_hub.snapshot_download(
            name, allow_patterns=[*patterns, "pytorch_model.bin"]
        )
    return folder


def fetched(address, fetch):
    """The folder that is fetched from an address."""
    try:
        return Path(fetch(address))
    except Exception as error:  # of many classes, those of the network and of either site
        raise CheckpointError(
            f"{address} could not be downloaded ({type(error).__name__}: {error}). Try again, or "
            "fetch its files by hand and give their folder."
        ) from None


def find_public(name):
    """The folder of a public checkpoint in the cache."""
    folder = cache() / name
    if not folder.is_dir():
        archive, variant = PUBLIC[name]
        with room_in_cache() as partial:
            path = cache() / archive  # fetched by hand
            if not path.exists():
                path = Path(partial) / archive
                download(SOURCE + archive, path)
            unpacked = unpack(path, Path(partial) / "unpacked")
            check(path, unpacked, variant)
            put(unpacked, folder)
    return folder


def room_in_cache():
    """A folder in the cache for what is not whole yet, removed at the end."""
    try:
        cache().mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=cache())
    except OSError as error:
        raise CheckpointError(
            f"{cache()}: checkpoints are downloaded into this folder, and it cannot be written "
            f"({error.strerror}). Set KERAS_HOME to a folder that can be."
        ) from None


def put(unpacked, folder):
    """Move a checked checkpoint to its place, unless another process was faster."""
    try:
        os.rename(unpacked, folder)
    except OSError:
        if not folder.is_dir():
            raise


class HTTPSRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects that stay on https."""

    def redirect_request(self, request, file, code, message, headers, url):
        if not url.lower().startswith("https://"):
            raise urllib.error.URLError(f"redirected to {url}, which is not https")
        return super().redirect_request(request, file, code, message, headers, url)


def open_url(url):
    """Open an https address; nothing else is spoken."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        HTTPSRedirects(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener.open(url, timeout=TIMEOUT)


def download(url, path):
    """Write what an https address holds to a file, with a progress bar."""
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    try:
        with (
            open_url(url) as response,
            open(path, "wb") as file,
            Progress(*columns, transient=True) as progress,
        ):
            expected = int(response.headers.get("Content-Length") or 0)
            task = progress.add_task(f"Downloading {path.name}", total=expected or None)
            received = 0
            while chunk := response.read(CHUNK):
                received += len(chunk)
                if max(received, expected) > MOST_BYTES:
                    raise OSError(f"more than {MOST_BYTES:,} bytes; this is not the archive")
                file.write(chunk)
                progress.update(task, completed=received)
            if received < expected:
                raise OSError(f"cut off after {received:,} of {expected:,} bytes")
    except (OSError, HTTPException, ValueError) as error:
        raise CheckpointError(
            f"{url} could not be downloaded ({error}). Try again, or fetch it by hand and put it, "
            f"as it is, into {cache()}: it is then unpacked from there."
        ) from None


def unpack(archive, folder):
    """Unpack an archive of plain files; return the folder in it that has the checkpoint."""
    try:
        with zipfile.ZipFile(archive) as file:
            members = file.infolist()
            refuse_unsafe(members)
            for member in members:
                target = folder.joinpath(*PurePosixPath(member.filename).parts)
                if member.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                # zipfile reads no more than the size that the member declares
                with file.open(member) as source, open(target, "wb") as copy:
                    shutil.copyfileobj(source, copy, CHUNK)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError,
            RuntimeError, OSError, ValueError) as error:  # fmt: skip
        if getattr(error, "errno", None):  # the machine's, such as a full disk
            raise
        raise refusal(archive, str(error)) from None
    indexes = [path for path in folder.rglob("*.index") if "__MACOSX" not in path.parts]
    if len(indexes) != 1:
        raise refusal(archive, f"one .index file was expected, {len(indexes)} found")
    return indexes[0].parent


def refuse_unsafe(members):
    """Refuse an archive that would write outside its folder, make links, or fill the disk."""
    if len(members) > MOST_MEMBERS:
        raise ValueError(f"{len(members):,} members, at most {MOST_MEMBERS} are unpacked")
    if (size := sum(member.file_size for member in members)) > MOST_BYTES:
        raise ValueError(f"{size:,} bytes unpacked, at most {MOST_BYTES:,} are")
    for member in members:
        path = PurePosixPath(member.filename)
        # a colon or a backslash would leave the folder on Windows
        if path.is_absolute() or ".." in path.parts or set(member.filename) & set(":\\"):
            raise ValueError(f"the path {member.filename!r} leaves the folder")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ValueError(f"{member.filename!r} is a link or a device, not a file")


def check(archive, folder, variant):
    """Refuse what is not whole, or does not hold the expected variables."""
    # here, so that whoever needs no download need not wait for TensorFlow
    from support.checkpoints import open_checkpoint

    try:
        checkpoint = open_checkpoint(folder)
        checkpoint.arrays()
        checkpoint.vocabulary  # noqa: B018
    except CheckpointError as error:
        raise refusal(archive, str(error)) from None
    if checkpoint.form != variant:
        raise refusal(archive, f"a {variant} checkpoint was expected, not {checkpoint.form}")


def refusal(archive, reason):
    return CheckpointError(
        f"{archive.name} is not the expected archive ({reason}). Nothing was unpacked. If you put "
        f"it into {cache()}, remove it there; otherwise fetch {SOURCE}{archive.name} by hand."
    )
