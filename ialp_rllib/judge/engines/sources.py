"""What kind of source a name of a model stands for. Reads no weights, and imports neither torch nor transformers."""

from __future__ import annotations

from pathlib import Path

from ialp_rllib.catalogue.packaged import package_data
from ialp_rllib.errors import InputError

SINGLE = ("model.safetensors", "pytorch_model.bin")
INDEXES = tuple(f"{name}.index.json" for name in SINGLE)  # of weights in several files
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


def find_model(name: str) -> tuple[Path | None, str]:
    """The path that a name of a model stands for, and its kind: ``folder``, ``adapter``, ``gguf``; or None and ``hub``.

    Raises:
        InputError: the name looks like a path that does not exist, or the folder contains no model.
    """
    if name == "tiny":
        return Path(package_data("tiny_judge")), "folder"
    path, where = Path(name).expanduser(), f"judge.model {name}"
    if path.is_file():
        if path.suffix != ".gguf":
            raise InputError(where, "is a file", "a model folder, a GGUF file (.gguf), or a Hugging Face id")
        return path, "gguf"
    if not path.is_dir():
        if path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1 or path.suffix == ".gguf":
            raise InputError(where, "no such folder", "`tiny`, a model folder, a GGUF file, or a Hugging Face id")
        return None, "hub"
    # A training leaves more files beside an adapter (training_args.bin, optimizer.bin), even a copy of config.json.
    whole = any((path / name).is_file() for name in (*SINGLE, *INDEXES))
    if (path / ADAPTER_CONFIG).is_file() and not whole:
        return path, "adapter"
    if (path / "config.json").is_file():
        return path, "folder"
    files = sorted(path.glob("*.gguf"))
    if len(files) > 1:
        problem = f"the folder has no config.json, and {len(files)} GGUF files ({files[0].name}, {files[1].name}, ...)"
        raise InputError(where, problem, "the path of one of them")
    if files:
        return files[0], "gguf"
    expected = "a model in Hugging Face's layout, a PEFT adapter, or one GGUF file"
    raise InputError(where, "the folder has no config.json", expected)
