#!/usr/bin/env bash
# Runs a command of curator again while that may help, and ends with its last exit code.
#
#   curator-retry curator select --config select.yaml
#
# 1 (the run failed) and 130 (it was interrupted) resume. 2 (bad input) and 3 (too many bad samples) would only fail
# again, and so would what ended it with any other code. CURATOR_RETRIES says how often (5), CURATOR_RETRY_SECONDS how
# long to wait before each (30). Who stops this script stops the run, and that is not tried again.
set -uo pipefail

retries=${CURATOR_RETRIES:-5}
pause=${CURATOR_RETRY_SECONDS:-30}
# Ray and SkyPilot signal all processes of a job themselves, and a second signal would break off how the run stops. So
# it is passed on only to a command that still runs after so many seconds: curator takes up to 10 to end its workers.
grace=12
child=
reminder=
signals=0

stop() {
  ((signals++))
  if ((signals == 1)); then
    { sleep "$grace" && kill -TERM "$child"; } >/dev/null 2>&1 &
    reminder=$!
  fi
}

# A signal ends `wait` before the command ends, whose exit code the next `wait` gives.
exit_code_of_child() {
  local before code
  while true; do
    before=$signals
    wait "$child"
    code=$?
    if ((before == signals)); then return "$code"; fi
  done
}

trap stop TERM INT
trap 'if [[ -n $reminder ]]; then kill "$reminder" 2>/dev/null; fi' EXIT

for ((attempt = 0; ; attempt++)); do
  "$@" &
  child=$!
  exit_code_of_child
  code=$?
  if ((signals > 0 || (code != 1 && code != 130))); then exit "$code"; fi
  if ((attempt == retries)); then
    echo "curator-retry: exit code $code, and the $retries retries are used up" >&2
    exit "$code"
  fi
  echo "curator-retry: exit code $code, retry $((attempt + 1)) of $retries in $pause s" >&2
  sleep "$pause" &
  child=$!
  wait "$child"
  if ((signals > 0)); then
    kill "$child" 2>/dev/null
    exit "$code"
  fi
done
