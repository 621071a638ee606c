#!/usr/bin/env bash
# Runs a verb of `ialp` as a job on a Ray cluster: `ray job submit`, with this checkout as the working directory.
#
#   cluster/submit.sh [run] SCENARIO --out /shared/runs/NAME [any other option of `ialp run`]
#   cluster/submit.sh sweep STUDY --out /shared/runs/NAME [any other option of `ialp sweep`]; so, too: compare, lea
#
# Prints the log of the job. Exit code: 0 if the job succeeded, 1 if it failed, 2 if nothing was submitted.
#   RAY_API_SERVER_ADDRESS  dashboard of the cluster (default: http://127.0.0.1:8265, the address of `ray dashboard` and `kubectl port-forward`)
#   RAY_AUTH_MODE, RAY_AUTH_TOKEN_PATH   token, and the file with the token, if the cluster requires one
#   IALP_PYTHON             Python on the nodes of the cluster (default: python), with the packages of requirements/
#   IALP_SUBMIT_OPTIONS     further options of `ray job submit`, e.g. "--no-wait --entrypoint-num-cpus 1"
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

refuse() {
  printf 'submit.sh: %s\n' "$@" >&2
  exit 2
}

usage() { sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }
case ${1:-} in
  '') usage >&2 && exit 2 ;;
  -h | --help) usage && exit 0 ;;
esac

# The job runs in a copy of this checkout that Ray deletes afterwards: results must be written to a folder that all nodes
# share.
out=
previous=
for argument in "$@"; do
  [ "$previous" != --out ] || out=$argument
  case $argument in --out=*) out=${argument#--out=} ;; esac
  previous=$argument
done
case $out in /*) ;; *) refuse "--out must name an absolute path on storage that all nodes of the cluster share" ;; esac

# `ray job submit` joins the arguments of the command without quoting them for the shell that runs it on the cluster. They
# are therefore quoted here, and the quoted text is passed split at its spaces, which Ray inserts again. Characters that
# would be changed by this are rejected.
for argument in "$@"; do
  case $argument in *[$'"\t\n\\']* | *'  '*) refuse "double quotes, backslashes, tabs and double spaces cannot be passed: $argument" ;; esac
done
case $1 in
  run | sweep | compare | lea) verb=$1 && shift ;;
  *) verb=run ;;
esac
command="${IALP_PYTHON:-python} -m ialp_rllib.cli $verb ${*@Q}"
IFS=' ' read -r -a words <<<"$command"

ray=$root/.venv/bin/ray
[ -x "$ray" ] || ray=$(command -v ray) || refuse "no ray command found: run \`make venv\`"
IFS=' ' read -r -a options <<<"${IALP_SUBMIT_OPTIONS:-}"
exec "$ray" job submit \
  --address "${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}" \
  --working-dir "$root" \
  --runtime-env-json '{"excludes": ["/.venv/", "/.git/", "/runs/", "/dist/", "__pycache__/", ".*_cache/", ".hypothesis/"]}' \
  ${options[@]+"${options[@]}"} \
  -- "${words[@]}"
