# shellcheck shell=bash
# Sourced by the scripts beside it: where the job lies, and clear words when something that they need is not there.

# shellcheck disable=SC2034  # here and root are read by those who source this
here=$(unset CDPATH && cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/test_dir

fail() {
  echo "error: $*" >&2
  exit 2
}

# The comment at the head of a script is its help.
show_help() {
  sed -n '2,/^$/ s/^# \{0,1\}//p' "$0"
  exit 0
}

require_image() {
  local answer
  command -v docker >/dev/null || fail "there is no docker command. Install Docker, or give no image to do without."
  answer=$(docker version --format '{{.Server.Version}}' 2>&1) ||
    fail "Docker does not answer. Start it, or give no image to do without. It says: ${answer##*$'\n'}"
  docker image inspect "$1" >/dev/null 2>&1 ||
    fail "Docker has no image '$1'. Build it: docker build --tag '$1' '$(dirname "$here")'"
}

# Prints the path of the command, that of the checkout before that of PATH.
find_lesion() {
  local venv=$here/../.venv/bin/lesion
  if [ -x "$venv" ]; then
    echo "$venv"
  else
    command -v lesion || fail "there is no lesion command. Run 'make demo' or 'pip install .' in $(dirname "$here")," \
      "or name an image to run in."
  fi
}

# Sets `port` from the variable PORT.
read_port() {
  port=${PORT:-8080}
  case $port in '' | *[!0-9]*) fail "PORT is not a number: '$port'" ;; esac
}
