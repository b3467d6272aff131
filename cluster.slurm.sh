#!/bin/bash
# A study on nodes that Slurm gives. Every step: docs/slurm.md. Fill in what says REPLACE, then:
#   sbatch cluster.slurm.sh jobs/qtable_search.py --eps-255 8
#SBATCH --job-name=qtable-sweeps
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1    # one Ray a node, which starts as many tasks as it has room for
#SBATCH --exclusive            # at its end `ray stop` ends every Ray of yours on the node
#SBATCH --time=04:00:00
#SBATCH --requeue              # from the beginning; what is stored is not computed again
#SBATCH --open-mode=append
#SBATCH --output=qtable-sweeps-%j.log    # and -%j-0.log: the study's own; -1.log and so on: the workers'
set -euo pipefail

cd "${SLURM_SUBMIT_DIR:?start this by sbatch}"
. .venv/bin/activate
export QSWEEP_STORE=${QSWEEP_STORE:-REPLACE-STORE}    # a folder that all nodes see, or s3://...
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export RAY_TMPDIR=${RAY_TMPDIR:-/tmp}    # of the node itself; a short path
export RAY_gcs_rpc_server_reconnect_timeout_s=15    # workers end so long after the head, else 60

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(getent ahostsv4 "$head" | awk '{ print $1; exit }'):$((20000 + SLURM_JOB_ID % 10000))
done=$(mktemp "$SLURM_SUBMIT_DIR/.qtable-sweeps-$SLURM_JOB_ID-XXXXXX")
trap 'rm -f "$done"' EXIT

# `ray symmetric-run` exits with 0 where Ray does not start, so the script's own code is kept aside.
srun --output "qtable-sweeps-%j-%t.log" ray symmetric-run --address "$address" --min-nodes "$SLURM_NNODES" \
  --num-cpus "${SLURM_CPUS_ON_NODE:?}" -- bash -c '
    address=$1 done=$2; shift 2
    RAY_ADDRESS=$address python "$@"; code=$?; echo "$code" > "$done"; exit "$code"
  ' run "$address" "$done" "$@" || true
exit "$(grep . "$done" || echo 70)"    # 70: it never began; the log says why
