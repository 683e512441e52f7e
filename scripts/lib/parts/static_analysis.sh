# shellcheck shell=bash
# The parts "cppcheck" and "tidy".

# The reason for each suppression:
#   CastIntegerToAddressAtReturn: it takes the enum within the brackets of an array of texts for what is returned.
#   internalAstError, noValidConfiguration: reported by some versions for C++20 that they cannot parse; the compilers can.
# cppcheck does not read the headers that define Postgres's macro foreach; a semicolon would end the definition.
check_cppcheck() {
  say 'cppcheck: core, delivery and src/pg'
  count_command 'cppcheck' "$log/cppcheck" in_tree_nicely cppcheck --quiet --error-exitcode=1 --language=c++ --std=c++20 -j "$jobs" \
    --enable=warning,performance,portability --inline-suppr --suppress=missingIncludeSystem \
    --suppress=CastIntegerToAddressAtReturn --suppress=internalAstError --suppress=noValidConfiguration \
    -Iinclude "-DPG_VERSION_NUM=${postgres_major}0000" '-Dforeach(cell, list)=while ((cell = lnext(list, cell)))' \
    src/core src/delivery src/pg || true
}

# clang-tidy with the flags of Makefile.pgxs. The analyzer does not follow calls into libstdc++, which would take two thirds of
# the time of all files. Of a long function it follows a third of its usual number of paths, which takes half of the rest.
check_tidy() {
  local sources some flags
  mapfile -t sources < <(cd "$tree" && find src -name '*.cpp' | sort)
  mapfile -t flags < <(extension_flags)
  flags+=(-Xclang -analyzer-config -Xclang c++-stdlib-inlining=false -Xclang -analyzer-config -Xclang max-nodes=75000)
  say "tidy: ${#sources[@]} files"
  # Some at a time: if a header has changed this takes long, and the next release can begin meanwhile.
  while ((${#sources[@]} > 0)); do
    # shellcheck disable=SC2034  # tidy() reads it by its name
    some=("${sources[@]:0:10}")
    sources=("${sources[@]:10}")
    tidy some scripts/lib/tidy_unless_clean "$objects/tidy" "$clang_major" {} "${flags[@]}"
    change_release
  done
}

# Prints the flags of the extension's build that affect the meaning of the code, one per line. Those for optimization and
# warnings are specific to g++.
extension_flags() {
  local line argument words
  # Reads all of the output: make must not meet a closed pipe.
  line=$(pgxs --dry-run --always-make CXX=c++ 2>/dev/null </dev/null | awk '/^c\+\+ .* -c / && !seen++')
  eval "words=(${line#c++ })"
  for argument in "${words[@]}"; do
    case "$argument" in
      -isystem) printf '%s\n' "$argument" ;;
      -[IDU]* | -std=* | /*) printf '%s\n' "$argument" ;;
    esac
  done
  printf '%s\n' -Wall -Wextra -Wno-register -Wno-deprecated-volatile
}

# tidy <array of files> <command...>: runs the command, with each file for its {}, on all processors.
tidy() {
  local -n subjects=$1
  local file report
  shift
  # shellcheck disable=SC2016  # expanded by the inner bash
  printf '%s\0' "${subjects[@]}" | in_tree_nicely xargs -0 -P "$jobs" -I {} bash -c '
    report=$2/${1//\//_}
    shift 2
    "$@" >"$report" 2>&1 || touch "$report.failed"' tidy {} "$log/tidy" "$@" || true
  for file in "${subjects[@]}"; do
    report=$log/tidy/${file//\//_}
    if [[ ! -e $report ]]; then
      count_failed "clang-tidy did not look at $file"
    elif [[ -e $report.failed ]]; then
      count_failed "clang-tidy $file"
      grep -vE 'warnings? generated|^Suppressed|^Use -header-filter' "$report" | head -n 40 | sed 's/^/   | /'
    else
      count_passed
    fi
  done
}
