#!/usr/bin/env bash
# Lints the plugin protocol and compares its generated code with what the
# pinned generators write.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
export PATH="${TOOLS:-$root/bin/tools}:$PATH"
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

cd "$root/plugin/protocol"
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
