#!/bin/sh
# Downloads models, each checked against its SHA-256 before it is seen.
#
#   http.sh DIRECTORY LIST      a line of the list: SHA256 NAME[/VERSION] URL
set -eu
models=$1 list=$2

while read -r sum place url; do
    [ -n "$sum" ] || continue
    aside=$models/.incoming
    rm -rf "$aside"
    mkdir -p "$aside/tree" "$models/${place%%/*}"
    curl --fail --silent --show-error --location --proto '=http,https' --proto-redir '=https,http' \
        --retry 5 --retry-all-errors --retry-max-time 300 --connect-timeout 10 --output "$aside/file" "$url"
    if ! echo "$sum  $aside/file" | sha256sum -c - >/dev/null; then
        echo "$place: $url is not the file whose SHA-256 is $sum" >&2
        exit 1
    fi
    case ${url%%\?*} in
        *.tar) tar -xf "$aside/file" -C "$aside/tree" ;;
        *.tar.gz | *.tgz) tar -xzf "$aside/file" -C "$aside/tree" ;;
        *) mv "$aside/file" "$aside/tree/${MODEL_FILE:-model.onnx}" ;;
    esac
    if [ "$place" = "${place%/*}" ]; then
        # A whole model: it joins what is there of it.
        cp -R "$aside/tree/." "$models/$place/"
    else
        rm -rf "${models:?}/$place"
        mv "$aside/tree" "$models/$place"
    fi
    rm -rf "$aside"
    echo "$place: $url"
done <"$list"
