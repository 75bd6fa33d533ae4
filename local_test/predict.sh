#!/usr/bin/env bash
# Ask the server of serve_local.sh about one file, and print its answer: predict.sh PAYLOAD [CONTENT_TYPE]
#
#   predict.sh picture.jpg
#   predict.sh picture.png image/png
#   predict.sh request.json application/json
#   PORT=8081 predict.sh picture.jpg           of a server on another port than 8080
#
# CONTENT_TYPE is image/jpeg unless given. The exit status is not 0 if the server refused; the answer says why.

set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/shared.sh"
case ${1-} in -h | --help) show_help ;; esac
[ $# -ge 1 ] && [ $# -le 2 ] || fail "usage: $0 PAYLOAD [CONTENT_TYPE]"

payload=$1
content_type=${2:-image/jpeg}
[ -f "$payload" ] && [ -r "$payload" ] || fail "there is no file '$payload' that can be read"
command -v curl >/dev/null || fail "there is no curl command. Install curl."
read_port

status=0
# 60 s is SageMaker's own limit.
curl --silent --show-error --fail-with-body --noproxy '*' --max-time 60 --write-out '\n' \
  --header "Content-Type: $content_type" --data-binary "@$payload" "http://127.0.0.1:$port/invocations" || status=$?
case $status in
  # Nobody listens, or Docker does for a container that does not listen yet.
  7 | 52 | 56) fail "no server answers on port $port. Run $here/serve_local.sh, and wait until it says ready." ;;
esac
exit "$status"
