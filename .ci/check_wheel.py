"""Fail if a wheel is too large or holds anything but the library."""

import sys
import zipfile
from pathlib import Path

LIMIT = 200_000

wheel = Path(sys.argv[1])
tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
strangers = {top for top in tops if top != "keras_mlc" and not top.endswith(".dist-info")}
size = wheel.stat().st_size
print(f"{wheel.name}: {size:,} bytes")
if strangers or size >= LIMIT:
    sys.exit(f"The wheel must hold keras_mlc alone, under {LIMIT:,} bytes. Also in it: {strangers}")
