#!/usr/bin/env bash
# Train on test_dir, as SageMaker trains on /opt/ml: train_local.sh [IMAGE [DOCKER_OPTION…]]
#
#   train_local.sh                                     with the lesion command of .venv or PATH
#   train_local.sh lesion                              in a container of the image lesion, as root, as SageMaker does
#   train_local.sh lesion --gpus all                   what follows the image goes to docker run
#   train_local.sh lesion --user "$(id -u):$(id -g)"   the files come out as yours
#
# Empties test_dir/model, test_dir/output and test_dir/checkpoints first.

set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shared.sh"
case ${1-} in -h | --help) show_help ;; -*) fail "unknown option '$1': see $0 --help" ;; esac

if [ $# -eq 0 ]; then
  lesion=$(find_lesion)
  rm -rf "$root/model" "$root/output" "$root/checkpoints" ||
    fail "a container left files that are root's. Let one take them away: $0 IMAGE"
  mkdir -p "$root/model" "$root/output"
  exec "$lesion" train --root "$root" # exec, here and below, so that signals arrive
fi

image=$1
shift
require_image "$image"
mount=type=bind,source=$root,target=/opt/ml
# What a container wrote as root only root may delete: a container does, so that nobody needs sudo.
docker run --rm --user 0 --network none --mount "$mount" --entrypoint rm "$image" \
  -rf /opt/ml/model /opt/ml/output /opt/ml/checkpoints
mkdir -p "$root/model" "$root/output"
exec docker run --rm --mount "$mount" "$@" "$image" train
