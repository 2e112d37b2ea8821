#!/usr/bin/env bash
# What every machine of a SkyPilot task does: the first one is the head of a Ray cluster and runs the selection, the
# others join it and leave when it has ended. SkyPilot names the machines (SKYPILOT_NODE_IPS) and says which this is
# (SKYPILOT_NODE_RANK). `ray stop` is not used: it would end SkyPilot's own Ray too.
set -uo pipefail

export RAY_AUTH_MODE=token
# SkyPilot's own; ours is named by --address.
unset RAY_ADDRESS
here=$(dirname "$0")
head_ip=$(head -n1 <<<"$SKYPILOT_NODE_IPS")
address=$head_ip:6379

until_alive() {
  for _ in $(seq 120); do
    if ray health-check --address "$address" >/dev/null 2>&1; then return 0; fi
    sleep 5
  done
  echo "the head of the cluster at $address was not heard of for ten minutes" >&2
  return 1
}

if [[ $SKYPILOT_NODE_RANK == 0 ]]; then
  ray start --head --port 6379 --node-ip-address "$head_ip" --disable-usage-stats --block &
else
  until_alive || exit 1
  ray start --address "$address" --disable-usage-stats --block &
fi
node=$!
trap 'kill "$node" 2>/dev/null; wait "$node" 2>/dev/null' EXIT

if [[ $SKYPILOT_NODE_RANK != 0 ]]; then
  # A machine that has done its part well says 0, or the whole task counts as failed.
  while ray health-check --address "$address" >/dev/null 2>&1; do sleep 10; done
  exit 0
fi

until_alive || exit 1
# The head answers before its own node can be joined.
until python3 -c 'import ray, sys; ray.init(address=sys.argv[1], logging_level=50)' "$address" 2>/dev/null; do
  kill -0 "$node" 2>/dev/null || exit 1
  sleep 5
done
bash "$here/../retry.sh" curator select --address "$address" \
  --target "$TARGET" --pool "$POOL" --out "$OUT" --encoder "$ENCODER"
