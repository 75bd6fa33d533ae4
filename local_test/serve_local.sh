#!/usr/bin/env bash
# Serve what train_local.sh trained, until Ctrl-C: serve_local.sh [IMAGE [DOCKER_OPTION…]]
#
#   serve_local.sh                     with the lesion command of .venv or PATH
#   serve_local.sh lesion              in a container of the image lesion
#   serve_local.sh lesion --gpus all   what follows the image goes to docker run
#   PORT=8081 serve_local.sh           on another port than 8080; predict.sh wants the same

set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shared.sh"
case ${1-} in -h | --help) show_help ;; -*) fail "unknown option '$1': see $0 --help" ;; esac

[ -e "$root/model/manifest.json" ] || fail "there is no model in $root/model. Run $here/train_local.sh first."
read_port
if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
  fail "port $port is in use. Stop what listens there, or choose another: PORT=8081 $0"
fi

if [ $# -eq 0 ]; then
  lesion=$(find_lesion)
  exec "$lesion" serve --root "$root" --port "$port" # exec, here and below, so that signals arrive
fi

image=$1
shift
require_image "$image"
exec docker run --rm --mount "type=bind,source=$root,target=/opt/ml,readonly" --publish "127.0.0.1:$port:8080" \
  "$@" "$image" serve
