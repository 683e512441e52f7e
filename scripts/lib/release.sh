# shellcheck shell=bash
# The check within a Debian of another release, in a chroot made by debootstrap. There it is started by a user who is not
# root but may use sudo, from a directory that is not the work tree, and cannot write to that.

# What is checked there without --only.
release_parts=(unit build regress isolation tap)

release_cache=/var/cache/wee5_cron_check
release_pid=''
release_scratch=''

# begin_in_release <release> [part...]: starts the check in it, in the background. False where there can be none, which is
# a skip, or where its chroot could not be made.
release_name=''
begin_in_release() {
  local why base packages=() only=() part
  release_name=$1
  release_root=$tree/scripts/lib/release_root
  shift
  if ! can_be_root; then
    count_skipped "$release_name: no chroot, because nobody here may be root"
    return 1
  fi
  if ! why=$(as_root "$release_root" possible 2>&1); then
    count_skipped "$release_name: no chroot, because ${why##*$'\n'}"
    return 1
  fi
  install_missing_packages debootstrap
  # One chroot for all: what single parts need is in it, too.
  mapfile -t packages < <(versions_of "$release_name" && packages_for "${release_parts[@]}" "$@" && echo nodejs)
  say "$release_name: looking for its chroot in $release_cache; made anew it takes a minute or two"
  start_as_root "$directory/$release_name.base" "$log/$release_name-root" \
    "$release_root" ready "$release_cache" "$release_name" "$(debian_mirror)" "${packages[@]}"
  if ! wait_for_root; then
    count_failed "$release_name: its chroot could not be made"
    tail -n 40 "$log/$release_name-root" | sed 's/^/   | /'
    return 1
  fi
  base=$(tail -n 1 "$directory/$release_name.base")

  bring_sources "$directory/$release_name" "$@"
  for part in "$@"; do only+=(--only "$part"); done
  say "$release_name: scripts/check ${only[*]}, as a user with sudo"
  # shellcheck disable=SC2016  # expanded by the inner bash
  start_as_root "$log/$release_name" "$log/$release_name" "$release_root" run "$base" "$release_scratch" \
    chroot --userspec=checker / env HOME=/home/checker USER=checker \
    bash -c 'cd /var/tmp && exec /srv/wee5_cron/scripts/check "$@"' check ${keep:+--keep} "${only[@]}"
}

# end_in_release: shows its output from the beginning, waits for its end, and counts what it counted.
end_in_release() {
  local shown status=0
  say "$release_name: what its check says"
  tail --pid="$release_pid" --lines=+1 --follow "$log/$release_name" | sed -u 's/^/   | /' &
  shown=$!
  wait_for_root || status=$?
  wait "$shown" || true
  count_check "$release_name" "$status" "$log/$release_name"
  say "$release_name: done"
}

# Lays the sources, and the packages from npm for the tests that want them, where the chroot has its /srv.
bring_sources() {
  release_scratch=$1
  shift
  local sources=$release_scratch/bring/srv/wee5_cron
  mkdir -p "$sources"
  copy_sources "$sources"
  if [[ " $* " == *' tap '* ]] && prepare_npm_packages; then
    cp -R "$tree/test/scripts/node_modules" "$sources/test/scripts/"
  fi
  chmod -R go=rX "$release_scratch/bring"
  as_root chown -R 0:0 "$release_scratch/bring"
}

# start_as_root <file for its output> <file for its errors> <command...>, and the wait for it: in the background, so that
# a signal ends it at once.
start_as_root() {
  local output=$1 errors=$2 sudo=()
  shift 2
  ((EUID == 0)) || sudo=(sudo --)
  : >"$output"
  : >"$errors"
  "${sudo[@]}" "$@" >>"$output" 2>>"$errors" </dev/null &
  release_pid=$!
}

wait_for_root() {
  local status=0
  wait "$release_pid" || status=$?
  release_pid=''
  return "$status"
}

# What runs as root takes its processes along, and with them its mounts.
end_release() {
  if [[ -n $release_pid ]]; then
    as_root kill "$release_pid" 2>/dev/null || true
    wait "$release_pid" 2>/dev/null || true
  fi
  if [[ -n $release_scratch && -z $keep ]]; then as_root rm -rf --one-file-system "$release_scratch"; fi
}

can_be_root() {
  ((EUID == 0)) || sudo --non-interactive true 2>/dev/null || { command -v sudo >/dev/null && [[ -t 0 ]]; }
}

# The mirror that this machine's apt uses, or else Debian's own.
debian_mirror() {
  local mirror
  # shellcheck disable=SC2016  # expanded by apt-get
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null |
    awk 'NR == 1')
  echo "${mirror:-http://deb.debian.org/debian}"
}
