# shellcheck shell=bash
# Runs the check in the Debian releases that this machine does not have, each in a chroot made by debootstrap. A user with
# sudo starts it there, from a directory outside the work tree. That user cannot write to the work tree.

releases=(bookworm trixie sid)
# The parts that run there without --only. In a complete check, each release runs a quarter of tap: all of it takes a
# machine with two processors a quarter of an hour for each release (scripts/check --release <name> --only tap).
release_parts=(unit build regress isolation tap)

release_cache=/var/cache/wee5_cron_check
# Within a release: what it compiled in earlier runs.
release_objects=/srv/objects
declare -A release_pids=()
declare -A release_scratches=()

# begin_in_release <release> [part...]: starts the check in the release, in the background. Creates the chroot if there is
# none. If it cannot be created, counts the release as skipped and returns false.
begin_in_release() {
  local name=$1 why packages=() only=() part share=$test_share
  local release_root=$tree/scripts/lib/release_root
  shift
  if ! can_be_root; then
    count_skipped "$name: no chroot, because nobody here may be root"
    return 1
  fi
  if ! why=$(as_root "$tree/scripts/lib/release_root" possible 2>&1); then
    count_skipped "$name: no chroot, because ${why##*$'\n'}"
    return 1
  fi
  install_missing_packages debootstrap
  # One chroot serves all parts, so it also has the packages that only some parts need.
  mapfile -t packages < <(versions_of "$name" && packages_for "${release_parts[@]}" "$@" && echo nodejs)
  bring_sources "$name" "$@"
  for part in "$@"; do only+=(--only "$part"); done
  for part in "${!releases[@]}"; do
    if [[ -n $quarter_of_tap && ${releases[part]} == "$name" ]]; then share=$((part + 1))/4; fi
  done
  say "$name: scripts/check ${only[*]}, as a user with sudo, in a chroot in $release_cache (made anew it takes some minutes)"
  # shellcheck disable=SC2016  # expanded by the inner bash
  start_in_background "$name" \
    "$release_root" check "$release_cache" "$name" "$(debian_mirror)" "${packages[*]}" "${release_scratches[$name]}" \
    chroot --userspec=checker / env HOME=/home/checker USER=checker \
    bash -c 'cd /var/tmp && exec /srv/wee5_cron/scripts/check "$@"' check ${keep:+--keep} --share "$share" "${only[@]}"
}

# runs_in_release <release>: whether its check has not ended.
runs_in_release() {
  as_root kill -0 "${release_pids[$1]}" 2>/dev/null
}

# end_in_release <release>: shows its output from the beginning, waits for its end, and counts what it counted.
end_in_release() {
  local name=$1 pid=${release_pids[$1]} shown status=0
  say "$name: what its check says"
  tail --pid="$pid" --lines=+1 --follow "$log/$name" | sed -u 's/^/   | /' &
  shown=$!
  wait "$pid" || status=$?
  unset "release_pids[$name]"
  wait "$shown" || true
  # What release_root says if the chroot could not be created: no network, or packages that no longer exist.
  if ((status == 75)); then
    count_skipped "$name: its chroot could not be made: $(tail -n 1 "$log/$name")"
  else
    count_check "$name" "$status" "$log/$name"
  fi
  say "$name: done"
}

# Copies the sources, and the npm packages for the tests that need them, to the chroot's /srv.
bring_sources() {
  local name=$1 scratch=$directory/$1
  shift
  release_scratches[$name]=$scratch
  local sources=$scratch/bring/srv/wee5_cron
  mkdir -p "$sources"
  copy_sources "$sources"
  if [[ " $* " == *' tap '* ]] && prepare_npm_packages; then
    cp -R "$tree/test/scripts/node_modules" "$sources/test/scripts/"
  fi
  chmod -R go=rX "$scratch/bring"
  as_root chown -R 0:0 "$scratch/bring"
}

# start_in_background <release> <command...>: as root. In the background, so that a signal ends it at once.
start_in_background() {
  local name=$1 sudo=()
  shift
  ((EUID == 0)) || sudo=(sudo --)
  : >"$log/$name"
  "${sudo[@]}" "$@" >>"$log/$name" 2>&1 </dev/null &
  release_pids[$name]=$!
}

# When the root process ends, its child processes and mounts end, too.
end_releases() {
  local name
  for name in "${!release_pids[@]}"; do as_root kill "${release_pids[$name]}" 2>/dev/null || true; done
  for name in "${!release_pids[@]}"; do wait "${release_pids[$name]}" 2>/dev/null || true; done
  if [[ -n $keep ]]; then return; fi
  for name in "${!release_scratches[@]}"; do as_root rm -rf --one-file-system "${release_scratches[$name]}"; done
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

# may_use_layer <what does not happen otherwise>: whether a command can run as root in a layer over this system.
may_use_layer() {
  local why
  can_be_root || { count_skipped "$1, because nobody here may be root"; return 1; }
  why=$(as_root "$tree/scripts/lib/release_root" possible 2>&1) || { count_skipped "$1, because ${why##*$'\n'}"; return 1; }
}

# count_in_layer <part> <directory> <command...>: runs the command as root in a layer over this system, which has the files of
# <directory>/bring and vanishes afterwards. Counts the lines "passed: ..." and "failed: ..." that the command prints.
count_in_layer() {
  local part=$1 scratch=$2 line status=0 before=$failed counted=0
  shift 2
  start_in_background "$part-layer" nice -n 10 "$tree/scripts/lib/release_root" over "$scratch" "$@"
  wait "${release_pids[$part-layer]}" || status=$?
  unset "release_pids[$part-layer]"
  while IFS= read -r line; do
    counted=$((counted + 1))
    if [[ $line == passed:* ]]; then count_passed; else count_failed "$part: ${line#failed: }"; fi
  done < <(grep -E '^(passed|failed): ' "$log/$part-layer" || true)
  show_when_failed "$part" "$status" "$before" "$log/$part-layer" || return 0
  expect_some_tests "$part" "$counted" || true
}
