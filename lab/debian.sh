# Words for scripts that unpack programs of Debian into a cache: nothing is installed and no service starts. To be sourced by
# one that has set LAB (this folder), WHO (of whom it tells) and HERE (its own folder).
. "$LAB/cached.sh"

unpacked() { # COMMAND…: the packages whose names the command prints
  in_cache "$WHO-$({ cat "$HERE/build.sh"; dpkg --print-architecture; cat /etc/debian_version; } | sha256sum | cut -c1-12)"
  cd "$work"
  # Package lists may be missing or old; they are only read when they have to be.
  fetch "$@" || { apt-get -qq update >&2; rm -f ./*.deb; fetch "$@"; }
  for package in *.deb; do dpkg -x "$package" . && rm "$package"; done
  finished
}

fetch() {
  names=$("$@") || return 1
  tell "downloading $names"
  # shellcheck disable=SC2086 # a list of words
  apt-get -qq -o APT::Sandbox::User=root download $names >&2
}
