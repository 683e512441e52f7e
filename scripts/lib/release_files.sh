# shellcheck shell=bash
# The files of a release, made from a repository of the sources. For the parts "package" and "debian".

# commit_sources <directory>: the sources in a git repository of their own.
commit_sources() {
  mkdir -p "$1"
  copy_sources "$1"
  hand_over "$1"
  work_tree=$1 in_tree bash -c 'git init --quiet && git add --all &&
    git -c user.name=check -c user.email=check@example.org commit --quiet --message=check'
}

# make_dist <repository>: with checksums that are true.
make_dist() {
  work_tree=$1 in_tree bash -c 'make dist && cd dist && sha256sum --check --strict SHA256SUMS'
}

# As the person who started the script, like install_from_npm. Git knows of no new file.
make_npm() {
  with_npm make -C "$1" npm && tar --list --gzip --file "$1"/dist/wee5-cron-[0-9]*.tgz | grep -Fx package/package.json &&
    work_tree=$1 in_tree git status --porcelain | none_is_left 'not ignored by git'
}

# make_release <repository>: as that person, too, who lives elsewhere and has other settings of git. What this person compiles is
# kept apart from what the owner of the copy does.
make_release() (
  umask 077
  # Whoever could write there could put code of his own into the package.
  install -d -m 700 "$objects.packages"
  time_limit=1800 with_npm nice -n 10 env PATH="/usr/lib/ccache:$(dirname "$node"):$PATH" TMPDIR="$directory/tmp" \
    CCACHE_DIR="$objects.packages" CCACHE_BASEDIR="$directory" CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=500M \
    GIT_CONFIG_COUNT=3 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0="$1" GIT_CONFIG_KEY_1=core.autocrlf GIT_CONFIG_VALUE_1=true \
    GIT_CONFIG_KEY_2=tar.umask GIT_CONFIG_VALUE_2=user TZ=Asia/Tokyo \
    DEB_BUILD_OPTIONS=nocheck DEB_BUILD_PROFILES=nocheck make -C "$1" release
)

# release_is_whole <repository> <SHA256SUMS of make dist>: after make_release. All files are there and no other, their checksums
# are true and, apart from the packages, those of a second time, and all of them have the version and the files of the commit.
release_is_whole() (
  cd "$1/dist" && version=$(../scripts/lib/one_version) || exit 1
  debian_version=$(dpkg-parsechangelog --file ../debian/changelog --show-field Version)
  deb=postgresql-$postgres_major-wee5-cron_${debian_version}_$(dpkg --print-architecture).deb
  expected=("$deb" "wee5-cron-$version.tgz" wee5_cron--portable.sql "wee5_cron-$version.tar.gz" "wee5_cron-$version.zip")
  status=0
  # same <what it is about> <expected> <found>
  same() { [[ $2 == "$3" ]] || { printf '%s: expected\n%s\nfound\n%s\n' "$@"; status=1; }; }
  same 'the files' "$(printf '%s\n' "${expected[@]}" SHA256SUMS | sort)" "$(printf '%s\n' * | sort)"
  same 'the files of SHA256SUMS' "$(printf '%s\n' "${expected[@]}" | sort)" "$(awk '{ print $2 }' SHA256SUMS | sort)"
  sha256sum --check --strict --quiet SHA256SUMS || status=1
  same 'the checksums of make dist' "$(<"$2")" "$(grep -vE '\.(deb|tgz)$' SHA256SUMS)"
  same 'the version of the Debian package' "$debian_version" "$(dpkg-deb --field "$deb" Version)"
  same 'its library, and the scripts of this version' 4 "$(dpkg-deb --contents "$deb" |
    grep -cE "/(lib/wee5_cron\.so|extension/wee5_cron(\.control|--($version|.*--$version)\.sql))$")"
  same 'the version of the npm package' "$version" "$(tar --extract --gzip --to-stdout --file "wee5-cron-$version.tgz" package/package.json |
    sed -n 's/^  "version": "\(.*\)",$/\1/p')"
  same 'the portable edition' "-- wee5_cron $version" "$(grep -m 1 -oE "^-- wee5_cron [0-9.]+" wee5_cron--portable.sql)"
  same 'the files of the sources' "$(git -c safe.directory='*' ls-tree -r --name-only --full-tree HEAD | sort)" \
    "$(tar --list --gzip --file "wee5_cron-$version.tar.gz" | sed -n "s|^wee5_cron-$version/\(.*[^/]\)$|\1|p" | sort)"
  exit "$status"
)

# make_release_refuses <repository> <words>: it says so, and writes nothing.
make_release_refuses() {
  # shellcheck disable=SC2016  # expanded by the inner bash
  work_tree=$1 in_tree bash -c 'rm -rf dist; ! make release >"$TMPDIR/said" 2>&1 || { echo "not refused"; exit 1; }
    cat "$TMPDIR/said"; grep -qF "$1" "$TMPDIR/said" && [[ -z $(ls -A dist) ]]' refuses "$2"
}

# clean_repository <repository>: make clean, and then there is no file that git ignores or does not know.
clean_repository() {
  work_tree=$1 in_tree make PG_CONFIG="$pg_config" clean && work_tree=$1 in_tree git status --porcelain --ignored | none_is_left 'left by make clean'
}

# What make release makes of a commit; and that it makes nothing of what is not committed, or of two versions.
release_files() {
  # In a directory with a space in its name.
  local release=$directory/release-files repository="$directory/release-files/the sources"
  count_command 'a repository of the sources' "$log/release-repository" commit_sources "$repository" || return 0
  count_command 'make dist: the files of a release' "$log/release-files" make_dist "$repository" || return 0
  count_command 'make npm' "$log/make-npm" make_npm "$repository" || true
  mv "$repository/dist" "$release/first"
  say 'package: make release, with the Debian package'
  if count_command 'make release' "$log/make-release" make_release "$repository"; then
    count_command 'what make release has made' "$log/release-whole" release_is_whole "$repository" "$release/first/SHA256SUMS" || true
  fi
  hand_over "$release"
  work_tree=$repository in_tree sed -i 's/"version": "[0-9.]*"/"version": "9.9.9"/' META.json
  count_command 'make release refuses a tree with changes' "$log/release-refused" \
    make_release_refuses "$repository" 'the work tree has changes that are not committed' || true
  work_tree=$repository in_tree git -c user.name=check -c user.email=check@example.org commit --quiet --all --message=check
  count_command 'make release refuses two versions' "$log/release-versions" \
    make_release_refuses "$repository" 'the files do not agree on the version' || true
  count_command 'make clean leaves nothing of all this' "$log/release-clean" clean_repository "$repository" || true
}
