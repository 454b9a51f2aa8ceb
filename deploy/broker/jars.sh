#!/bin/sh
# Prints the folder of Apache Kafka's jars, after Maven has copied them there if they are missing (54 MB, once).
# UPWELL_KAFKA_JARS names another folder that holds them already.
set -eu

version=4.3.1
if [ -n "${UPWELL_KAFKA_JARS:-}" ]; then
    [ -e "$UPWELL_KAFKA_JARS/kafka_2.13-$version.jar" ] || {
        echo "UPWELL_KAFKA_JARS=$UPWELL_KAFKA_JARS holds no kafka_2.13-$version.jar: unset it to let Maven fetch the jars" >&2
        exit 1
    }
    echo "$UPWELL_KAFKA_JARS"
    exit
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/upwell
jars=$cache/kafka-$version
if [ ! -d "$jars" ]; then
    command -v mvn >/dev/null || {
        echo "Apache Kafka's jars are fetched by Maven, which is missing: apt install maven openjdk-17-jdk-headless" >&2
        exit 1
    }
    mkdir -p "$cache"
    part=$(mktemp -d "$cache/part-XXXXXX")
    trap 'rm -rf "$part"' EXIT
    mvn --batch-mode --quiet --file "$(dirname "$0")/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime "-DoutputDirectory=$part" >&2
    chmod 755 "$part"
    # One rename, so a folder of that name is always whole; whoever comes second keeps the first one's.
    python3 -c 'import os, sys; os.rename(*sys.argv[1:])' "$part" "$jars" 2>/dev/null || [ -d "$jars" ]
fi
echo "$jars"
