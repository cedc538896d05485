# Programs of Debian's, for the scripts that test with them. To be sourced, at the root of the tree.

# MADE PROGRAM PACKAGE…: unpacked below MADE where there is none, and run with the libraries of these packages. Who
# needs it finds it in MADE/bin, or not, and skips.
debian() {
    local made=$1 program=$2 aside=$1/$2
    shift 2
    ! command -v "$program" >/dev/null || return 0
    if [ ! -x "$made/bin/$program" ]; then
        mkdir -p "$aside" "$made/bin"
        (cd "$aside" && { apt-get -qq download "$@" || { apt-get -qq update && apt-get -qq download "$@"; }; } &&
            for deb in *.deb; do dpkg -x "$deb" .; done) >/dev/null 2>&1 || return 0
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$PWD/$aside/usr/lib/$(uname -m)-linux-gnu" \
            "$(echo "$PWD/$aside"/usr/*bin/"$program")" >"$made/bin/$program"
        chmod +x "$made/bin/$program"
    fi
}
