#!/usr/bin/env bash
# Run one study of docs/answer.md: scripts/study/run.sh a|a2|b|c-dqn|c-pqn FOLDER [FLAG OF wnrl.compare ...]
# Stop it at any time; the same command continues.
set -euo pipefail
cd "$(dirname "$0")/../.."
study=$1 folder=$2
shift 2
common=(--import scripts.study.variants --threads 1 --eval-every-steps 0 --out "$folder/$study" "$@")
small=(--norm none weight weight-data layer-channel)
two=(--env MinAtar/Breakout-v1 MinAtar/Asterix-v1)
case $study in
a)
  python -m wnrl.compare --env minatar --agent pqn --steps 500_000 --seeds 10 \
    --norm none none-data weight weight-data weight-fixed-v projection layer-channel batch rms hyperball \
    --tune learning_rate=2.5e-4,5e-4,1e-3,2e-3 --tune-seeds 1 "${common[@]}"
  ;;
a2)
  python -m wnrl.compare "${two[@]}" --agent dqn --steps 200_000 --seeds 10 "${small[@]}" \
    --tune learning_rate=6.25e-5,2.5e-4,1e-3 --tune-seeds 1 "${common[@]}"
  ;;
b)
  python -m wnrl.compare "${two[@]}" --agent pqn --steps 500_000 --seeds 5 \
    --norm none weight weight-data layer-channel batch \
    --sweep learning_rate=3.1e-5,1.25e-4,5e-4,2e-3,8e-3,3.2e-2,1.28e-1 "${common[@]}"
  ;;
c-dqn | c-pqn)
  python -m wnrl.compare --env Breakout Pong SpaceInvaders --agent "${study#c-}" --preset fast \
    --steps 200_000 --seeds 5 --norm none weight layer batch "${common[@]}"
  ;;
*)
  echo "unknown study $study: a, a2, b, c-dqn or c-pqn" >&2
  exit 2
  ;;
esac
