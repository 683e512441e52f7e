# shellcheck shell=bash
# The part "release": scripts/check in other Debian releases.

# The releases that this machine does not have: the first one in parallel with everything else, each other one when the one
# before it has ended. More at once would save no time, and tests would wait too long for a state.
begun_release=''
releases_to_come=()
quarter_of_tap=''
begin_next_release() {
  local name
  begun_release=''
  while ((${#releases_to_come[@]} > 0)) && [[ -z $begun_release ]]; do
    name=${releases_to_come[0]}
    releases_to_come=("${releases_to_come[@]:1}")
    if begin_in_release "$name" "${chosen_parts[@]}"; then begun_release=$name; fi
  done
}

begin_releases() {
  local name
  for name in "${releases[@]}"; do
    if [[ $name == "${chosen_release:-$name}" && ($name != "$own_release" || -n $chosen_release) ]]; then
      releases_to_come+=("$name")
    fi
  done
  begin_next_release
}

# Between two parts, and within a long one: the next release need not wait for the last part.
change_release() {
  if [[ -z $begun_release ]] || runs_in_release "$begun_release"; then return; fi
  end_in_release "$begun_release"
  begin_next_release
}

check_release() {
  while [[ -n $begun_release ]]; do
    end_in_release "$begun_release"
    begin_next_release
  done
}
