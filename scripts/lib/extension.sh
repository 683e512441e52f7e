# shellcheck shell=bash
# The extension, built and installed once for all parts of scripts/check that need it.

extension_state=''
fixtures_installed=()
prepare_extension() {
  if [[ -n $extension_state ]]; then [[ $extension_state == ready ]]; return; fi
  extension_state=broken
  say "build: the extension for PostgreSQL $postgres_major with g++"
  count_command 'extension with g++' "$log/pgxs-g++" pgxs -j"$jobs" || return 1
  count_command 'make install' "$log/install" as_root make -C "$tree" PG_CONFIG="$pg_config" install || return 1
  install_fixtures || return 1
  extension_state=ready
}

# Stand-ins for other extensions: all scripts test/support/install_*_fixture.
install_fixtures() {
  local script
  for script in "$tree"/test/support/install_*_fixture; do
    say "build: ${script##*/}"
    count_command "${script##*/}" "$log/${script##*/}" as_root env PG_CONFIG="$pg_config" "$script" install || return 1
    fixtures_installed+=("$script")
  done
}

remove_fixtures() {
  local script
  for script in "${fixtures_installed[@]}"; do
    as_root env PG_CONFIG="$pg_config" "$script" remove >/dev/null 2>&1 || echo "${script##*/} could not remove it" >&2
  done
}

# If the extension could not be built, the parts that need it count as failed.
needs_extension() {
  prepare_extension && return
  count_failed "$1 could not run without the extension"
  return 1
}
