#!/bin/sh
# Runs every fuzz target of the module for a while, one after the other, and
# stops at the first finding. FUZZTIME is how long each runs (1m), FUZZFLAGS goes
# to go test.
set -eu

go=${GO:-go}
fuzztime=${FUZZTIME:-1m}
count=0

for package in $(find . -path ./bin -prune -o -name '*_test.go' -exec grep -l '^func Fuzz' {} + | xargs -n 1 dirname | sort -u); do
	for target in $("$go" test -list '^Fuzz' "$package" | grep '^Fuzz'); do
		echo "$package $target, $fuzztime"
		# shellcheck disable=SC2086
		if ! "$go" test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" ${FUZZFLAGS:-} "$package"; then
			echo "$target has found something. A new file in $package/testdata/fuzz/$target is the input; the test that shows it:" >&2
			echo "  $go test -run $target $package" >&2
			echo "Mend it and commit the input." >&2
			exit 1
		fi
		count=$((count + 1))
	done
done
[ "$count" -gt 0 ] || { echo 'there are no fuzz targets' >&2; exit 1; }
echo "$count fuzz targets, no finding"
