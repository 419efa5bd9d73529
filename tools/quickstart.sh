#!/usr/bin/env bash
# Set up a fresh virtual environment, train on the embedded ab initio metals, test, and predict one crystal.
#   bash tools/quickstart.sh [RUN_DIR]      (default runs/quickstart; PYTHON chooses the interpreter)
set -euo pipefail
cd "$(dirname "$0")/.."
run=${1:-runs/quickstart}
venv=.venv-quickstart

source tools/environment.sh
make_environment "$venv" .

rm -rf "$run"
"$venv/bin/dielectric-gnn" fit --config configs/quickstart.yaml --run_dir "$run"
"$venv/bin/dielectric-gnn" test --ckpt_path "$run/checkpoints/best.ckpt"
"$venv/bin/dielectric-gnn" predict --ckpt_path "$run/checkpoints/best.ckpt" --crystals docs/crystals/fcc_silver.cif

echo
echo "Look at these:"
echo "  $run/test/quantiles.png            predicted against calculated spectra, from the best to the worst"
echo "  $run/test/summary.md               the table above"
echo "  $run/predictions/fcc_silver.png    the predicted optical response of fcc silver"
echo "  $venv/bin/tensorboard --logdir $run"
