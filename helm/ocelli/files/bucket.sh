#!/bin/sh
# Copies a bucket of models, of which each version appears as a whole and goes as a whole.
#
#   bucket.sh DIRECTORY [SECONDS]      REMOTE is the bucket, in rclone's words; with SECONDS for ever
#
# rclone mirrors the bucket beside the models; what has changed is linked into place. Links cost no room.
set -eu
models=$1 every=${2:-}
mirror=$models/.mirror

# What tells whether two directories hold the same files. (A file that changes is a new one: see pull.)
files() { (cd "$1" && find . -type f -exec ls -i {} + | awk '{ print $1, $2 }' | sort); }

put() { # a file or directory of the mirror, into its place
    new=$models/${1%/*}/.new old=$models/${1%/*}/.old
    rm -rf "$new" "$old"
    cp -al "$mirror/$1" "$new"
    # A directory can't be renamed over another: for that moment the version is not there.
    [ ! -d "$models/$1" ] || mv "$models/$1" "$old"
    mv "$new" "$models/$1"
    rm -rf "$old"
    echo "$1: put into place"
}

publish() {
    for model in "$mirror"/*/; do
        [ -d "$model" ] || continue
        model=$(basename "$model")
        mkdir -p "$models/$model"
        for entry in "$mirror/$model"/*; do
            place=$model/$(basename "$entry")
            if [ -d "$entry" ]; then
                [ -d "$models/$place" ] && [ "$(files "$entry")" = "$(files "$models/$place")" ] || put "$place"
            elif [ -f "$entry" ]; then
                [ "$entry" -ef "$models/$place" ] || put "$place"
            fi
        done
    done
    for entry in "$models"/*/*; do
        place=${entry#"$models"/}
        [ ! -e "$entry" ] || [ -e "$mirror/$place" ] || { rm -rf "$entry" && echo "$place: gone"; }
    done
    for model in "$models"/*/; do
        [ ! -d "$model" ] || [ -d "$mirror/$(basename "$model")" ] || rm -rf "$model"
    done
}

# What is to be overwritten or deleted is moved away first, so that what it is linked to stays as it is.
pull() {
    rclone sync "$REMOTE" "$mirror" --backup-dir "$models/.replaced" --transfers 4 --retries 3 --stats 0
    rm -rf "$models/.replaced"
}

mkdir -p "$mirror"
if [ -z "$every" ]; then
    pull
    publish
    exit
fi
trap 'exit 0' TERM INT
while true; do
    # What can't be reached now may be next time. What is served meanwhile goes on being served.
    if (pull); then publish; else echo "the bucket can't be read; again in $every s" >&2; fi
    sleep "$every" &
    wait $!
done
