"""A run's folder: one folder per stage, the manifest written last, so that a stage is either finished or not.

``manifest.json`` of a stage holds the fingerprint of everything it depends on (its settings, the stages before it), the
files it wrote with size and SHA-256, facts for the report, the time it took, and its own SHA-256. A stage whose
fingerprint is unchanged and whose files are intact is not run again. ``started.json`` marks an unfinished stage: with
the same fingerprint it is resumed, else it starts over. Only files that the manifest lists, or that an unfinished stage
may have written, are ever deleted.
"""

from ialp_rllib.storage.files import flush, read_json, write_atomic, write_json, write_text
from ialp_rllib.storage.hashes import damaged_files, file_records, hash_file, hash_json, remove_files
from ialp_rllib.storage.lock import LOCK, locked
from ialp_rllib.storage.sealed import SealedFile
from ialp_rllib.storage.stage import MANIFEST, STARTED, Stage, read_manifest, require_intact

__all__ = [
    "LOCK",
    "MANIFEST",
    "STARTED",
    "SealedFile",
    "Stage",
    "damaged_files",
    "file_records",
    "flush",
    "hash_file",
    "hash_json",
    "locked",
    "read_json",
    "read_manifest",
    "remove_files",
    "require_intact",
    "write_atomic",
    "write_json",
    "write_text",
]
