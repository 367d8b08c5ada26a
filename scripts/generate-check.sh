#!/usr/bin/env bash
# Lints the plugin protocol and compares its generated code with what the
# pinned generators write.
#
#	generate-check.sh               all of that, with the tools in $TOOLS
#	generate-check.sh --unchanged   succeeds if nothing has changed since --record
#	generate-check.sh --record      all of that, and records what was found sound
#
# The tools take longer to build than anything else here. So what they found sound
# is recorded as the sums of all that they read and wrote, their versions among
# it, and they are needed again when one of these files is another.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
export PATH="${TOOLS:-$root/bin/tools}:$PATH"
cd "$root/plugin/protocol"
record=generated.sha256

sums() {
	local sum=(sha256sum)
	command -v sha256sum >/dev/null || sum=(shasum -a 256)
	{
		find . -name '*.proto' -o -name '*.pb.go'
		printf '%s\n' ./buf.yaml ./buf.gen.yaml ../node/plugin.proto ../python/stephost/protocol.binpb \
			../../tools/go.mod ../../tools/go.sum
	} | LC_ALL=C sort | xargs "${sum[@]}"
}

if [ "${1:-}" = --unchanged ]; then
	sums | cmp -s - "$record"
	exit
fi

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

buf lint
buf format --diff --exit-code
buf generate --output "$fresh"

stale=0
while IFS= read -r file; do
	diff -u "$file" "$fresh/$file" || stale=1
done < <(
	{ find . -name '*.pb.go'; (cd "$fresh" && find . -name '*.pb.go'); } | sort -u
)
# The other SDKs carry the contract with them.
diff -u stephost/plugin/v1/plugin.proto ../node/plugin.proto || stale=1
buf build --as-file-descriptor-set --exclude-source-info -o "$fresh/protocol.binpb"
cmp "$fresh/protocol.binpb" ../python/stephost/protocol.binpb || stale=1
if [ "$stale" -ne 0 ]; then
	echo 'the generated code is not what plugin.proto says: run `make generate` and commit the result' >&2
	exit 1
fi
if [ "${1:-}" = --record ]; then
	sums >"$record"
elif ! sums | cmp -s - "$record"; then
	echo 'the generated code is sound, but that is not recorded: run `make generate` and commit the result' >&2
	exit 1
fi
