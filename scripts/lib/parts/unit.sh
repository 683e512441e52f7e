# shellcheck shell=bash
# The parts "unit", "sanitize" and "fuzz": core and delivery, without Postgres.

declare -A built=()

# cmake_build <name> <cmake option...>: configures and builds the core and delivery libraries with their tests.
cmake_build() {
  local name=$1
  shift
  if [[ -v built[$name] ]]; then return "${built[$name]}"; fi
  built[$name]=1
  say "unit: building with $name"
  count_command "cmake with $name" "$log/cmake-$name" in_tree cmake -S . -B "build-$name" -G Ninja \
    -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DWEE5_WERROR=ON "$@" || return 1
  count_command "build with $name" "$log/build-$name" in_tree_nicely cmake --build "build-$name" -j "$jobs" || return 1
  built[$name]=0
}

# Each program runs all its tests in one process: to start one for each test, as ctest does, takes longer than the tests.
unit_tests() {
  local name=$1 program status
  for program in core_tests delivery_tests; do
    say "unit: $program of the $name build"
    status=0
    in_tree "build-$name/$program" >"$log/$program-$name" 2>&1 </dev/null || status=$?
    count_gtest "unit ($name)" "$status" "$log/$program-$name" || true
  done
}

# The part build compiles the same sources with clang, and optimized, for the warnings. Without optimization, the tests compile in
# half the time, and take no longer.
check_unit() {
  if cmake_build g++ -DCMAKE_CXX_COMPILER=g++ -DCMAKE_BUILD_TYPE=Debug; then unit_tests g++; fi
}

check_sanitize() {
  if cmake_build sanitized "-DCMAKE_CXX_COMPILER=clang++-$clang_major" -DCMAKE_BUILD_TYPE=Debug -DWEE5_SANITIZE=ON; then
    unit_tests sanitized
  fi
}

check_fuzz() {
  local line status=0 counted=0 before=$failed
  cmake_build fuzz "-DCMAKE_CXX_COMPILER=clang++-$clang_major" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DWEE5_FUZZ=ON \
    -DBUILD_TESTING=OFF || return 0
  say "fuzz: $(find "$tree/test/fuzz/corpus" -mindepth 1 -type d | wc -l) targets, 30 s each"
  in_tree_nicely env SEED=1 test/fuzz/run build-fuzz 30 >"$log/fuzz" 2>&1 </dev/null || status=$?
  while IFS= read -r line; do
    counted=$((counted + 1))
    if [[ $line == passed:* ]]; then count_passed; else count_failed "fuzz: ${line#failed: }"; fi
  done < <(grep -E '^(passed|failed): ' "$log/fuzz" || true)
  show_when_failed fuzz "$status" "$before" "$log/fuzz" || return 0
  expect_some_tests fuzz "$counted" || true
}
