#!/usr/bin/env bash
# Run a comparison on a Slurm cluster: an array with one task per run of the grid, then a job that
# writes the report. The tasks share the folder --out, which must be on a file system that all nodes
# see.
#
#   scripts/compare_slurm.sh --time=4:00:00 --cpus-per-task=2 --mem=12G --gres=gpu:1 -- \
#       --env Breakout --norm none weight layer batch --seeds 5 --out DIR
#
# Options before -- go to sbatch, flags after it to wnrl.compare. Each task uses as many threads as
# it has cores. A task that reaches its time limit or is preempted writes a checkpoint and is queued
# again. Repeat the command to continue where it stopped and to retry failed runs.
#
# The sbatch options apply to the array only. If every job needs an account or a partition, set
# SBATCH_ACCOUNT and SBATCH_PARTITION, which apply to both jobs.
set -euo pipefail

run_task() {
    local run code=0 requeue=""
    python -m wnrl.compare "$@" --only "$SLURM_ARRAY_TASK_ID" &
    run=$!
    # Slurm sends USR1 before the time limit, and TERM for scancel or preemption. After preemption
    # it queues the task again itself.
    trap 'requeue=yes; kill -TERM "$run" 2>/dev/null' USR1
    trap 'kill -TERM "$run" 2>/dev/null' TERM
    while kill -0 "$run" 2>/dev/null; do
        wait "$run" || true # a trap ends `wait` before the run has ended
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
        echo "usage: $0 [SBATCH OPTION ...] -- [FLAG OF wnrl.compare ...]" >&2
        exit 2
    fi
    shift
    # The last line of a dry run begins with the number of the last run.
    # --only refuses what an array cannot do, such as --until decided.
    count=$(python -m wnrl.compare "$@" --only 1 --dry-run --no-calibrate | awk 'END { print $1 }')
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
    echo "submitted $count runs as array job ${array%%;*}; a second job writes the report to $out"
}

if [[ ${SLURM_ARRAY_TASK_ID:-} ]]; then
    run_task "$@"
else
    submit "$@"
fi
