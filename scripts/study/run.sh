#!/usr/bin/env bash
# Run one study of docs/study_protocol.md:
# scripts/study/run.sh a1|a12|a|freeway|a2|b|c-dqn|c-pqn|e|f|g FOLDER [FLAG OF wnrl.compare ...]
# Stop it at any time; the same command continues. a1 is part 1 of study a, a12 is parts 1 and 2, and a
# is all three; each continues the one before in the same folder.
set -euo pipefail
cd "$(dirname "$0")/../.."
study=$1 folder=$2
shift 2
common=(--import scripts.study.variants --threads 1 --eval-every-steps 0 "$@")
part_1=(none weight layer-channel batch)
part_2=(none-data weight-data weight-fixed-v)
part_3=(projection rms hyperball)
small=(--norm none weight weight-data layer-channel)
two=(--env MinAtar/Breakout-v1 MinAtar/Asterix-v1)
four=("${two[@]}" MinAtar/Seaquest-v1 MinAtar/SpaceInvaders-v1)
tuned=(--seeds 10 --tune learning_rate=1.25e-4,5e-4,2e-3,8e-3,3.2e-2 --tune-seeds 1)
case $study in
a1)
  python -m wnrl.compare "${four[@]}" --agent pqn --steps 500_000 --norm "${part_1[@]}" \
    "${tuned[@]}" "${common[@]}" --out "$folder/a"
  ;;
a12)
  python -m wnrl.compare "${four[@]}" --agent pqn --steps 500_000 --norm "${part_1[@]}" "${part_2[@]}" \
    "${tuned[@]}" "${common[@]}" --out "$folder/a"
  ;;
a)
  python -m wnrl.compare "${four[@]}" --agent pqn --steps 500_000 \
    --norm "${part_1[@]}" "${part_2[@]}" "${part_3[@]}" "${tuned[@]}" "${common[@]}" --out "$folder/a"
  ;;
freeway)
  python -m wnrl.compare --env MinAtar/Freeway-v1 --agent pqn --steps 650_000 \
    --norm "${part_1[@]}" "${part_2[@]}" "${part_3[@]}" "${tuned[@]}" "${common[@]}" --out "$folder/freeway"
  ;;
a2)
  python -m wnrl.compare "${two[@]}" --agent dqn --steps 200_000 --seeds 10 "${small[@]}" \
    --tune learning_rate=6.25e-5,2.5e-4,1e-3 --tune-seeds 1 "${common[@]}" --out "$folder/a2"
  ;;
b)
  python -m wnrl.compare "${two[@]}" --agent pqn --steps 500_000 --seeds 5 \
    --norm none weight weight-v-paper weight-data layer-channel batch \
    --sweep learning_rate=3.1e-5,1.25e-4,5e-4,2e-3,8e-3,3.2e-2,1.28e-1 "${common[@]}" \
    --out "$folder/b"
  ;;
c-dqn | c-pqn)
  python -m wnrl.compare --env Breakout Pong SpaceInvaders --agent "${study#c-}" --preset fast \
    --steps 200_000 --seeds 5 --norm none weight layer batch "${common[@]}" --out "$folder/$study"
  ;;
e)
  python -m wnrl.compare "${four[@]}" --agent pqn --steps 500_000 \
    --norm none weight-v-paper weight-data-v-paper "${tuned[@]}" "${common[@]}" --out "$folder/e"
  ;;
f)
  python -m wnrl.compare --env MinAtar/Breakout-v1 --agent pqn --steps 500_000 --first-seed 11 --seeds 10 \
    --norm none-2e-3 none-8e-3 weight-2e-3 weight-8e-3 weight-v-paper-2e-3 weight-v-paper-8e-3 \
    "${common[@]}" --out "$folder/f"
  ;;
g)
  python -m wnrl.compare --env MinAtar/Breakout-v1 --agent pqn --steps 500_000 --first-seed 21 --seeds 30 \
    --norm none-8e-3 weight-8e-3 weight-v-paper-8e-3 "${common[@]}" --out "$folder/g"
  ;;
*)
  echo "unknown study $study: a1, a12, a, freeway, a2, b, c-dqn, c-pqn, e, f or g" >&2
  exit 2
  ;;
esac
