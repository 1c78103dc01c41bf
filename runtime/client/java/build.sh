#!/bin/sh
# Makes squall-runtime.jar from its sources; the result is committed, so that building the product needs no JDK. Wants JDK 17, and
# gives the same bytes each time (runtime/tests/java.rs compares the classes).
set -eu
cd "$(dirname "$0")"
out=$(mktemp -d)
javac --release 11 -g:source,lines -proc:none -XDstringConcat=inline -d "$out" src/squall/runtime/*.java
jar --create --file squall-runtime.jar --date 2025-01-01T00:00:00Z --main-class squall.runtime.Main -C "$out" .
rm -r "$out"
