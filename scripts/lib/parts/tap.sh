# shellcheck shell=bash
# The parts "tap" and "patroni".

# How many TAP files run at once. Fewer while other releases run: on an overloaded machine, a state that a test waits for
# comes too late.
tap_jobs() {
  if [[ -n $begun_release ]]; then echo "$jobs"; else echo "$((jobs + 1))"; fi
}

# Starts as soon as regress and isolation are done, in a copy of the tree that nothing else uses. These tests mostly wait
# for a tick or an answer. So several files run at once, in parallel with the other parts.
tap_begun=''
tap_pid=''
begin_tap() {
  if [[ -n $tap_begun ]]; then return; fi
  local files
  tap_begun=not
  needs_extension tap || return 0
  # Some tests run a script with npm's tsx. Without it they are skipped, by name.
  prepare_npm_packages || true
  # The last ones first: they run other files again, and take longest.
  mapfile -t files < <(cd "$tree" && find test/t -name '*.pl' | sort | awk "NR % ${test_share#*/} == ${test_share%/*} % ${test_share#*/}" | tac)
  say "tap: ${#files[@]} files with real servers are begun$([[ $test_share == 1/1 ]] || echo ", share $test_share of all")"
  cp -a "$tree" "$directory/tap"
  {
    work_tree=$directory/tap time_limit=4200 pgxs installcheck REGRESS= ISOLATION= TAP_TESTS=1 "PROVE_TESTS=${files[*]}" \
      PROVE="$directory/tap/scripts/lib/prove_in_parallel" PROVE_FLAGS='--verbose --timer --merge' PROVE_JOBS="$(tap_jobs)" \
      </dev/null >"$log/tap" 2>&1 || echo "$?" >"$log/tap.status"
  } &
  tap_pid=$!
  tap_begun=yes
}

# Shows each file and its failures. The rest stays in the log.
check_tap() {
  local shown status=0
  begin_tap
  if [[ $tap_begun != yes ]]; then return; fi
  say 'tap: what came of them'
  touch "$log/tap"
  tail --pid="$tap_pid" --lines=+1 --follow "$log/tap" |
    grep --line-buffered -E '^\[[0-9:]+\] .*\.pl|^not ok ' | sed -u 's/^/   /' &
  shown=$!
  wait "$tap_pid" || true
  wait "$shown" || true
  if [[ -e $log/tap.status ]]; then status=$(<"$log/tap.status"); fi
  count_prove tap "$status" "$log/tap" || true
}

# Servers that Patroni starts and promotes, with an etcd.
check_patroni() {
  needs_extension patroni || return 0
  local status=0
  say 'patroni: leaders die, are cut off, and come back'
  pgxs installcheck REGRESS= ISOLATION= TAP_TESTS=1 PROVE_TESTS='test/patroni/*.pl' PROVE_FLAGS='--verbose --timer --merge' \
    </dev/null >"$log/patroni" 2>&1 || status=$?
  count_prove patroni "$status" "$log/patroni" || true
}
