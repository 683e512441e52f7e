# shellcheck shell=bash
# The check within a Debian of another release, in a chroot made by debootstrap. There it is started by a user who is not
# root but may use sudo, from a directory that is not the work tree, and cannot write to that.

# What is checked there without --only.
release_parts=(unit build regress isolation tap)

release_cache=/var/cache/wee5_cron_check
release_pid=''
release_scratch=''

# check_in_release <release> [part...]: counts what the check in it counts. Where there can be none, that is a skip.
check_in_release() {
  local release=$1 why base status=0 packages only=() part
  release_root=$tree/scripts/lib/release_root
  shift
  if ! can_be_root; then
    count_skipped "$release: no chroot, because nobody here may be root"
    return
  fi
  if ! why=$(as_root "$release_root" possible 2>&1); then
    count_skipped "$release: no chroot, because ${why##*$'\n'}"
    return
  fi
  install_missing_packages debootstrap
  mapfile -t packages < <(. "$here/lib/packages.sh" && versions_of "$release" && packages_for "$@" && echo nodejs)
  say "$release: looking for its chroot in $release_cache; made anew it takes a minute or two"
  if ! as_root "$release_root" ready "$release_cache" "$release" "$(debian_mirror)" "${packages[@]}" \
    >"$directory/$release.base" 2>"$log/$release-root" </dev/null; then
    count_failed "$release: its chroot could not be made"
    tail -n 40 "$log/$release-root" | sed 's/^/   | /'
    return
  fi
  base=$(tail -n 1 "$directory/$release.base")

  bring_sources "$directory/$release" "$@"
  for part in "$@"; do only+=(--only "$part"); done
  say "$release: scripts/check ${only[*]}, as a user with sudo"
  # shellcheck disable=SC2016  # expanded by the inner bash
  in_release "$base" chroot --userspec=checker / env HOME=/home/checker USER=checker \
    bash -c 'cd /var/tmp && exec /srv/wee5_cron/scripts/check "$@"' check ${keep:+--keep} "${only[@]}" || status=$?
  count_check "$release" "$status" "$log/$release"
  say "$release: done"
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

# Runs a command in the chroot, and shows its output while it goes into the log. In the background, as in_tree() does.
in_release() {
  local base=$1 output status=0 sudo=()
  shift
  output=$log/$(basename "$release_scratch")
  : >"$output"
  ((EUID == 0)) || sudo=(sudo --)
  "${sudo[@]}" "$release_root" run "$base" "$release_scratch" "$@" >"$output" 2>&1 </dev/null &
  release_pid=$!
  tail --pid="$release_pid" --lines=+1 --follow "$output" | sed -u 's/^/   | /' &
  local shown=$!
  wait "$release_pid" || status=$?
  release_pid=''
  wait "$shown" || true
  return "$status"
}

# The processes in it end with the one that holds the namespaces, and with them the mounts.
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
