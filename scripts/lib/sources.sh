# shellcheck shell=bash
# Copies the work tree, so that a build by another user leaves no files in it.

source_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Names the files of the sources, NUL after each: what git knows or would add; without a repository of their own, everything but
# the tests' servers, which may be large, and change while they run.
list_sources() {
  # safe.directory: as root in another user's tree git refuses otherwise.
  if [[ ! -e $source_root/.git ]] || ! git -c safe.directory='*' -C "$source_root" ls-files -z --cached --others --exclude-standard 2>/dev/null; then
    (cd "$source_root" && find . \( -path ./.git -o -path './tmp_check*' \) -prune -o -type f -print0)
  fi
}

# Copies the sources, as they are in the work tree, into an existing directory.
copy_sources() {
  local file
  while IFS= read -r -d '' file; do
    # Deleted in the work tree, but still known to git.
    if [[ -e $source_root/$file ]]; then printf '%s\0' "$file"; fi
  done < <(list_sources) |
    tar --create --directory="$source_root" --null --no-recursion --files-from=- |
    tar --extract --directory="$1" --no-same-owner
}
