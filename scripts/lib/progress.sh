# shellcheck shell=bash
# Messages of the scripts.

progress_started=$SECONDS

# One line of progress, with the seconds since the start.
say() {
  printf '[%3ds] %s\n' "$((SECONDS - progress_started))" "$*"
}

# Ends the script: what went wrong, and after it what to do, a line each.
give_up() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  shift
  if (($#)); then printf '  %s\n' "$@" >&2; fi
  exit 1
}
