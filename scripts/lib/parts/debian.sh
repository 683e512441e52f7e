# shellcheck shell=bash
# The parts "debian" and "static": the package for this release, and a library that needs no libcurl, each tried in a copy of this
# system.

check_debian() {
  needs_extension debian || return 0
  local build=$directory/debian
  mkdir -p "$build/wee5-cron"
  # The objects come along: what is compiled with the package's own flags, scripts/release --deb shows.
  tar --create --directory="$tree" --exclude='./build-*' --exclude='./tmp_check*' --exclude=node_modules . | tar --extract --directory="$build/wee5-cron"
  cp -p "$tree/build-stamp" "$build/wee5-cron/"
  hand_over "$build"
  say 'debian: building the package'
  count_command 'the Debian package' "$log/debian-build" in_build_of_debian "$build" || return 0
  count_command 'lintian' "$log/lintian" in_tree lintian --fail-on error,warning "$build"/wee5-cron_*.changes || true
  try_package "$build"
  try_zip "$build"
}

in_build_of_debian() {
  in_tree_nicely env DEB_BUILD_OPTIONS=nocheck DEB_BUILD_PROFILES=nocheck scripts/lib/build_deb "$1/wee5-cron" "$1" \
    --no-pre-clean --no-check-builddeps
}

# The commit whose library and SQL are those of 0.1.0.
commit_of_0_1_0=e35427b670dfe1687937897a69f38cc96423dc12

# library_of_0_1_0 <directory>: compiles it there, from the history of the repository.
library_of_0_1_0() {
  mkdir "$1"
  git -c safe.directory='*' -C "$source_root" archive "$commit_of_0_1_0" | tar --extract --directory="$1" --no-same-owner
  hand_over "$1"
  work_tree=$1 in_tree_nicely make -f Makefile.pgxs -j"$jobs" PG_CONFIG="$pg_config" wee5_cron.so
}

# try_package <directory of the build>
try_package() {
  local build=$1 sources=$1/bring/srv/wee5_cron library=()
  may_use_layer 'debian: the package is not installed' || return 0
  mkdir -p "$sources"
  copy_sources "$sources"
  cp "$build"/postgresql-"$postgres_major"-wee5-cron_*.deb "$build/bring/srv/wee5-cron.deb"
  cp "$build"/wee5-cron/debian/control "$sources/debian/"
  cp "$build"/wee5-cron/debian/tests/control "$sources/debian/tests/"
  if ! git -c safe.directory='*' -C "$source_root" cat-file -e "$commit_of_0_1_0^{commit}" 2>/dev/null; then
    count_skipped 'debian: the package of 0.1.0 has the new library, because the history of this repository does not reach back to 0.1.0'
  elif count_command 'the library of 0.1.0' "$log/debian-0.1.0" library_of_0_1_0 "$build/0.1.0"; then
    cp "$build/0.1.0/wee5_cron.so" "$build/bring/srv/wee5_cron-0.1.0.so"
    library=(/srv/wee5_cron-0.1.0.so)
  fi
  say 'debian: installing, upgrading and removing the package, and autopkgtest'
  # shellcheck disable=SC2016  # expanded by the inner bash
  count_in_layer debian "$build" bash -c 'cd /srv/wee5_cron && exec scripts/lib/try_package "$@"' try_package "$postgres_major" /srv/wee5-cron.deb \
    "${library[@]}"
}

# try_zip <directory of the build>: what PGXN offers, for a client of PGXN without a network.
try_zip() {
  local build=$1
  may_use_layer 'debian: the zip file is not installed' || return 0
  count_command 'a repository of the sources' "$log/debian-repository" commit_sources "$build/release" || return 0
  count_command 'make dist' "$log/debian-dist" make_dist "$build/release" || return 0
  cp "$build"/release/dist/wee5_cron-*.zip "$build/bring/srv/wee5_cron.zip"
  ln -s "$objects" "$build/objects"
  say "debian: the zip file with PGXN's client"
  # shellcheck disable=SC2016  # expanded by the inner bash
  count_in_layer pgxn "$build" unshare --net bash -c 'cd /srv/wee5_cron && exec scripts/lib/try_pgxn "$@"' try_pgxn "$postgres_major" /srv/wee5_cron.zip
}

# The part "static": a library that needs no libcurl, built and tried in a copy of this system.
check_static() {
  local build=$directory/static
  may_use_layer 'static: nothing is built' || return 0
  mkdir -p "$build/bring/srv/wee5_cron"
  copy_sources "$build/bring/srv/wee5_cron"
  ln -s "$objects" "$build/objects"
  say 'static: a library with a libcurl of its own, for a server without one'
  # shellcheck disable=SC2016  # expanded by the inner bash
  count_in_layer static "$build" bash -c 'cd /srv/wee5_cron && exec scripts/lib/try_static "$@"' try_static "$postgres_major"
}
