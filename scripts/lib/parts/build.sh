# shellcheck shell=bash
# The part "build": the extension with two compilers.

check_build() {
  if prepare_extension; then
    count_command 'hardening of the library' "$log/hardened-g++" hardened "$tree/wee5_cron.so" "$log/pgxs-g++" || true
    say 'build: loading it into a server'
    count_command 'the library loads, and the extension is created and dropped' "$log/load" load_library || true
  fi
  if [[ -n $quick ]]; then return; fi
  # In a directory of its own, because the objects of two compilers must not mix.
  local elsewhere=$directory/with-clang
  mkdir "$elsewhere"
  hand_over "$elsewhere"
  as_owner touch "$elsewhere.began"
  say "build: the extension with clang-$clang_major, in another directory"
  # As for a server whose own build flags have no hardening.
  count_command "extension with clang-$clang_major" "$log/pgxs-clang" pgxs_in "$elsewhere" -j"$jobs" "CXX=clang++-$clang_major" \
    CXXFLAGS='-O2 -fno-strict-aliasing -fwrapv' CPPFLAGS= CFLAGS=-O2 LDFLAGS= LDFLAGS_SL= || return 0
  count_command 'hardening of the library, where the server has none' "$log/hardened-clang" \
    hardened "$elsewhere/wee5_cron.so" "$log/pgxs-clang" || true
  count_command 'make in another directory, and make clean' "$log/pgxs-clean" clean_leaves_nothing "$elsewhere" || true
}

# pgxs_in <directory> <argument...>: make for the sources of the copy, in a directory that has none.
pgxs_in() {
  pgxs -C "$1" -f "$tree/Makefile" "${@:2}"
}

# clean_leaves_nothing <directory>: after a build there, an installation and tests. The sources are as they were before the build.
clean_leaves_nothing() {
  pgxs_in "$1" DESTDIR="$1/staged" install && find "$1/staged" -name wee5_cron.so | grep . || return 1
  pgxs_in "$1" DESTDIR="$1/staged" uninstall || return 1
  if [[ $extension_state == ready ]]; then pgxs_in "$1" installcheck REGRESS=errors ISOLATION=register_jobs TAP_TESTS= || return 1; fi
  pgxs_in "$1" clean || return 1
  find "$tree" -type f -newer "$1.began" | none_is_left "written to the sources" && find "$1" -type f | none_is_left 'left by make clean'
}

# hardened <library> <log of its build>: prints what is missing. _FORTIFY_SOURCE leaves no mark in a library that calls none
# of the functions it guards, so the log of the build is checked for it.
hardened() {
  local shared=$1 build=$2 status=0 segments dynamic symbols
  segments=$(readelf --wide --segments "$shared")
  dynamic=$(readelf --wide --dynamic "$shared")
  symbols=$(readelf --wide --dyn-syms "$shared")
  lacks() { echo "$shared: $1"; status=1; }
  grep -q 'GNU_RELRO' <<<"$segments" || lacks 'no RELRO'
  grep -qE 'BIND_NOW|FLAGS_1.*NOW' <<<"$dynamic" || lacks 'RELRO is not full: symbols are bound lazily'
  grep -qE 'GNU_STACK.* RW +0x' <<<"$segments" || lacks 'its stack is executable'
  if grep -qE 'RPATH|RUNPATH|TEXTREL' <<<"$dynamic"; then lacks 'RPATH, RUNPATH or TEXTREL'; fi
  grep -q '__stack_chk_fail' <<<"$symbols" || lacks 'no stack protector'
  if grep -E ' -c ' "$build" | grep -vqE -- '-D_FORTIFY_SOURCE=[23]'; then lacks 'compiled without _FORTIFY_SOURCE'; fi
  return "$status"
}

# A missing symbol shows only when the library is loaded. The extension installs without pg_cron as well. In a subshell:
# cluster_create and cluster_start end the script if they fail.
load_library() (
  cluster=$directory/load
  as_owner mkdir "$cluster"
  trap 'cluster_stop "$cluster"; as_owner cat "$cluster/server.log"' EXIT
  cluster_create "$cluster" <<<"shared_preload_libraries = 'wee5_cron'"
  cluster_start "$cluster"
  cluster_psql "$cluster" --command='CREATE EXTENSION wee5_cron' --command='DROP EXTENSION wee5_cron' \
    --command='CREATE EXTENSION wee5_cron'
)
