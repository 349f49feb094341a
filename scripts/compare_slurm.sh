#!/usr/bin/env bash
# A comparison on a Slurm cluster: an array of one task per run of the grid, then a job for the
# report. What the tasks share is the folder --out, on a file system that all nodes see.
#
#   scripts/compare_slurm.sh --time=4:00:00 --cpus-per-task=2 --mem=12G --gres=gpu:1 -- \
#       --env Breakout --norm none weight layer batch --seeds 5 --out DIR
#
# Before -- stand options of sbatch, after it those of wnrl.compare. Each task takes as many threads
# as it has cores. One that meets its time limit or is preempted writes a checkpoint and is queued
# again. The same command goes on where it stopped, with runs that failed too.
#
# The options are the array's alone. Where every job needs an account or a partition, say it to both
# by SBATCH_ACCOUNT and SBATCH_PARTITION.
set -euo pipefail

run_task() {
    local run code=0 requeue=""
    python -m wnrl.compare "$@" --only "$SLURM_ARRAY_TASK_ID" &
    run=$!
    # Slurm sends USR1 before the time limit, and TERM for preemption (it queues the task again
    # itself) or scancel.
    trap 'requeue=yes; kill -TERM "$run" 2>/dev/null' USR1
    trap 'kill -TERM "$run" 2>/dev/null' TERM
    while kill -0 "$run" 2>/dev/null; do
        wait "$run" || true # a trap ends it before the run has ended
    done
    wait "$run" || code=$?
    if [[ $requeue && $code == 143 ]]; then
        exec scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
    fi
    exit "$code"
}

submit() {
    local options=() out=runs/compare count array
    while [[ $# -gt 0 && $1 != -- ]]; do
        options+=("$1")
        shift
    done
    if [[ $# == 0 ]]; then
        echo "usage: $0 [OPTION OF sbatch ...] -- FLAG OF wnrl.compare ..." >&2
        exit 2
    fi
    shift
    count=$(python -m wnrl.compare "$@" --dry-run --no-calibrate | sed -n '1s/ runs of .*//p')
    array=$(sbatch --parsable --job-name=wnrl --array="1-$count" --requeue --open-mode=append \
        --signal=B:USR1@120 "${options[@]}" "$0" "$@")
    while [[ $# -gt 0 ]]; do
        case $1 in
        --out) out=$2 ;;
        --out=*) out=${1#--out=} ;;
        esac
        shift
    done
    sbatch --parsable --job-name=wnrl-report --dependency="afterany:${array%%;*}" --mem=4G \
        --wrap="python -m wnrl.compare --report-only $(printf %q "$out")"
    echo "$count runs as array job ${array%%;*}, then the report in $out"
}

if [[ ${SLURM_ARRAY_TASK_ID:-} ]]; then
    run_task "$@"
else
    submit "$@"
fi
