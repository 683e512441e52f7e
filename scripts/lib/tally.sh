# shellcheck shell=bash
# Counts the results of all test runners. Each count_... function reads the runner's own report. A runner that did not run,
# or reports no test, counts as a failure.

passed=0
failed=0
skipped=0
failures=()
skips=()

count_passed() {
  passed=$((passed + ${1:-1}))
}

# count_failed <name>: one failure, shown at once and again at the end.
count_failed() {
  failed=$((failed + 1))
  failures+=("$1")
  echo "   FAILED: $1"
}

# count_skipped <name and why>: shown at once and again at the end.
count_skipped() {
  skipped=$((skipped + 1))
  skips+=("$1")
  echo "   skipped: $1"
}

# count_command <name> <log> <command...>: counts a command that passes or fails as a whole. False if it failed.
count_command() {
  local name=$1 log=$2
  shift 2
  if "$@" >"$log" 2>&1 </dev/null; then
    count_passed
  else
    count_failed "$name"
    tail -n 60 "$log" | sed 's/^/   | /'
    return 1
  fi
}

# count_gtest <name> <its status> <its output>
count_gtest() {
  local name=$1 status=$2 log=$3 before=$failed line counted=0
  while IFS= read -r line; do
    counted=$((counted + 1))
    case "$line" in
      '[       OK ] '*) count_passed ;;
      '[  SKIPPED ] '*) count_skipped "$name: ${line#*] }" ;;
      *) count_failed "$name: ${line#*] }" ;;
    esac
    # Of each test, not of the list at the end.
  done < <(grep -E '^\[ +(OK|FAILED|SKIPPED) +\] .* \([0-9]+ ms\)$' "$log" || true)
  show_when_failed "$name" "$status" "$before" "$log" || return 1
  expect_some_tests "$name" "$counted"
}

# count_pg_regress <name> <its status> <its output>. Up to PostgreSQL 15 it prints "test x ... ok" or, in a group of
# parallel tests, "     x ... ok"; from 16 on TAP.
count_pg_regress() {
  local name=$1 status=$2 log=$3 before=$failed line counted=0
  while IFS= read -r line; do
    counted=$((counted + 1))
    if [[ $line == 'not ok '* || $line == *FAILED* ]]; then
      count_failed "$name: $(sed -E 's/^(not ok [0-9]+ +[-+]|test) +//; s/ .*//' <<<"$line")"
    else
      count_passed
    fi
  done < <(sed -E 's/^ {5}([a-z])/test \1/' "$log" | grep -E '^(ok|not ok) +[0-9]+|^test [^ ]+ +\.\.\. ' || true)
  show_when_failed "$name" "$status" "$before" "$log" || return 1
  expect_some_tests "$name" "$counted"
}

# count_prove <name> <its status> <output of prove --verbose>
count_prove() {
  local name=$1 status=$2 log=$3 before=$failed counted=0 file='' line
  while IFS= read -r line; do
    case "$line" in
      *'.pl .'*'. skipped: '*) count_skipped "$name: $(basename "${line%% *}"): ${line#*skipped: }" ;;
      *'.pl ..'*)
        file=${line%% *}
        continue
        ;;
      'ok '*'# skip'* | 'ok '*'# SKIP'*) count_skipped "$name: $(basename "$file"): ${line#*\# [sS][kK][iI][pP] }" ;;
      'not ok '*'# TODO'*) ;;
      'not ok '*) count_failed "$name: $(basename "$file"): ${line#not ok }" ;;
      'ok '*) count_passed ;;
      *'(Wstat: '*'Failed: 0)')
        # Every test that ran passed, but not all ran: the file died, or its plan was wrong.
        count_failed "$name: $(basename "${line%% *}") did not run to its end"
        ;;
    esac
    counted=$((counted + 1))
  done < <(sed -E 's/^\[[0-9:]+\] //' "$log" |
    grep -E '^(ok|not ok) [0-9]+|^[^ ]+\.pl +\.\.|\(Wstat: ' || true)
  show_when_failed "$name" "$status" "$before" "$log" || return 1
  expect_some_tests "$name" "$counted"
}

# count_node <name> <its status> <output of node --test --test-reporter=tap>
count_node() {
  local name=$1 status=$2 log=$3 before=$failed line
  while IFS= read -r line; do count_failed "$name: $line"; done < <(sed -nE 's/^ *not ok [0-9]+ - //p' "$log" | grep -vE '\.js$' || true)
  count_passed "$(sed -n 's/^# pass //p' "$log" | grep . || echo 0)"
  while IFS= read -r line; do count_skipped "$name: $line"; done < <(sed -nE 's/^ *ok [0-9]+ - (.*) # SKIP.*/\1/p' "$log")
  show_when_failed "$name" "$status" "$before" "$log" || return 1
  expect_some_tests "$name" "$(sed -n 's/^# tests //p' "$log" | grep . || echo 0)"
}

# count_check <name> <its status> <output of scripts/check>: its tally becomes part of ours.
count_check() {
  local name=$1 status=$2 log=$3 before=$failed line total
  total=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
  while IFS= read -r line; do count_skipped "$name: $line"; done < <(sed -n 's/^skipped: //p' "$log")
  while IFS= read -r line; do count_failed "$name: $line"; done < <(sed -n 's/^FAILED: //p' "$log")
  if ((status != 0 && failed == before)) || [[ -z $total ]]; then count_failed "$name: the check ended with status $status"; fi
  count_passed "${total%% *}"
  ((failed == before)) || return 0
  expect_some_tests "$name" "${total%% *}" || true
}

# A runner that fails without naming a failed test counts as a failure itself. Then, and if tests failed, shows the
# relevant parts of its output.
show_when_failed() {
  local name=$1 status=$2 before=$3 log=$4
  if ((status != 0 && failed == before)); then count_failed "$name ended with status $status"; fi
  ((failed > before)) || return 0
  # In TAP, the reasons are in the comments after a "not ok". Other output has them at the end.
  if grep -qE '^ *not ok ' "$log"; then
    grep -E -A 25 '^ *not ok ' "$log" | grep -vE '^ *ok ' | head -n 150 | sed 's/^/   | /'
  elif grep -q '^\[ RUN ' "$log"; then
    # GoogleTest: what the failed tests said, and the last lines of one that did not end.
    awk '/^\[ RUN / { said = "" } { said = said $0 "\n" } /^\[  FAILED  \].* ms\)$/ { printf "%s", said } /^\[.* ms\)$/ { said = "" } END { printf "%s", said }' "$log" |
      head -n 150 | sed 's/^/   | /'
  elif grep -q '^Dubious' "$log"; then
    # The last lines of a TAP test that died.
    grep -m 5 -B 12 '^Dubious' "$log" | sed 's/^/   | /'
  else
    tail -n 60 "$log" | sed 's/^/   | /'
  fi
  return 1
}

expect_some_tests() {
  (($2 > 0)) || { count_failed "$1: no test was run"; return 1; }
}

# Prints the summary; its last line is: N passed, N failed, N skipped. False if something failed.
print_tally() {
  local name
  echo
  for name in "${skips[@]}"; do echo "skipped: $name"; done
  for name in "${failures[@]}"; do echo "FAILED: $name"; done
  echo "$passed passed, $failed failed, $skipped skipped"
  ((failed == 0))
}
