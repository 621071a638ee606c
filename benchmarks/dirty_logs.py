"""Dirty logs: is each read right, with a warning, or refused; or is it silently wrong?

    python benchmarks/dirty_logs.py                    # 142 logs, written on the spot
    python benchmarks/dirty_logs.py --bad-files 1000   # randomly damaged files as well: no traceback

Each log is one that a person could have: another separator, encoding, unit or compression, placeholders, ids that
differ in a blank. Beside it is what is right: the sequences, or that a warning or an error must name something.
``validate`` and ``prepare`` run in this process. Exit code 1: one was silently wrong, or ended in a traceback.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from random import Random

from dirty_logs_cases import cases
from dirty_logs_parts import Case

from ialp_rllib.catalogue import Catalogue
from ialp_rllib.catalogue.disk import read_catalogue, write_catalogue
from ialp_rllib.catalogue.sources.read import read_source
from ialp_rllib.catalogue.sources.validate import check
from ialp_rllib.errors import InputError
from ialp_rllib.settings import CatalogueSettings, from_dict

log = logging.getLogger("dirty_logs")
RIGHT, WARNED, REFUSED, WRONG = "right", "right, with a warning", "refused", "SILENTLY WRONG"


def judge(case: Case, folder: Path) -> tuple[str, str]:
    """Read a log; return the verdict and a remark."""
    case.write(folder)
    try:
        settings = from_dict(CatalogueSettings, {"data": str(folder), "attributes": ["title"], **case.settings}, "case")
        problems = check(settings).problems
        try:
            catalogue = read_source(settings)
        except InputError as error:
            return _refused(case, str(error), [p.severity for p in problems])
        target = folder / "prepared"
        target.mkdir()
        write_catalogue(catalogue, target)
        catalogue = read_catalogue(target)
    except InputError as error:  # of the settings
        return _refused(case, str(error), ["error"])
    except Exception:
        return WRONG, traceback.format_exc(limit=-2)
    said = " ".join(f"{p.where} {p.problem} {p.expected}" for p in problems if p.severity == "warning")
    if case.say and case.say.lower() not in said.lower():
        return WRONG, f"no warning of {case.say!r}: {said[:200]}"
    if case.refuse:
        return WRONG, "was accepted"
    difference = case.difference(sequences(catalogue), catalogue)
    if difference:
        return WRONG, difference
    return (WARNED if said else RIGHT), said[:100]


def _refused(case: Case, message: str, severities: list[str]) -> tuple[str, str]:
    if "error" not in severities:
        return WRONG, f"validate does not report: {message[:200]}"
    if not case.refuse:
        return WRONG, f"refused: {message[:300]}"
    if case.refuse.lower() not in message.lower():
        return WRONG, f"does not name {case.refuse!r}: {message[:300]}"
    return REFUSED, message.splitlines()[0][-100:]


def sequences(catalogue: Catalogue) -> dict[str, list[str]]:
    """User id -> ids of the items, in order."""
    offsets = catalogue.offsets()
    return {
        user: catalogue.item_ids[catalogue.item[offsets[n] : offsets[n + 1]]].tolist()
        for n, user in enumerate(catalogue.user_ids)
    }


def damaged(count: int, seed: int, root: Path) -> Counter[str]:
    """Verdicts on randomly damaged files of randomly chosen cases: read, or refused with one message."""
    verdicts: Counter[str] = Counter()
    random, known = Random(seed), cases()
    for number in range(count):
        case, folder = random.choice(known), root / f"damaged{number}"
        case.write(folder)
        path = random.choice(sorted(folder.iterdir()))
        path.write_bytes(_damage(path.read_bytes(), random))
        try:
            settings = from_dict(
                CatalogueSettings, {"data": str(folder), "attributes": ["title"], **case.settings}, "case"
            )
            read_source(settings)
            verdicts["read"] += 1
        except InputError as error:
            verdicts["refused"] += 1
            if "Traceback" in str(error) or not error.problem:
                verdicts["TRACEBACK"] += 1
        except Exception:
            verdicts["TRACEBACK"] += 1
            log.info("%s, damaged file %d (%s):\n%s", case.name, number, path.name, traceback.format_exc(limit=-3))
        shutil.rmtree(folder)
    return verdicts


def _damage(data: bytes, random: Random) -> bytes:
    """A file cut, with flipped bits, with inserted, repeated, removed or foreign bytes."""
    at = random.randrange(len(data) + 1)
    end = min(len(data), at + random.randint(1, 40))
    changed = bytearray(data)
    for _ in range(random.choice([1, 1, 3, 20])):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    junk = random.choice([b'"', b",", b"\n", b"\0", b"\xff\xfe", b"{", b"]", b"\r", b"\xef\xbb\xbf", b"9" * 400])
    return random.choice(
        [
            data[:at],
            data[at:],
            bytes(changed),
            data[:at] + random.randbytes(random.randint(1, 8)) + data[at:],
            data[:at] + data[end:],
            data[:at] + data[at:end] * 2 + data[end:],
            data[:at] + junk + data[at:],
            data + random.randbytes(20),
            bytes(len(data)),
            data[::-1],
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bad-files", type=int, default=0, help="number of randomly damaged files")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the damage")
    parser.add_argument("--only", default="", help="cases whose name contains this text")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    verdicts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="dirty-logs-") as root:
        for number, case in enumerate(case for case in cases() if options.only in case.name):
            verdict, remark = judge(case, Path(root) / str(number))
            verdicts[verdict] += 1
            log.info("%-22s %-44s %s", verdict, case.name, remark.replace("\n", " "))
        log.info("\n%d logs: %s", verdicts.total(), ", ".join(f"{n} {what}" for what, n in verdicts.items()))
        if options.bad_files:
            bad = damaged(options.bad_files, options.seed, Path(root))
            log.info("%d damaged: %s", options.bad_files, ", ".join(f"{n} {what}" for what, n in bad.items()))
            verdicts[WRONG] += bad["TRACEBACK"]
    return int(verdicts[WRONG] > 0)


if __name__ == "__main__":
    sys.exit(main())
