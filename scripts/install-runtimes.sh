#!/usr/bin/env bash
# Fetches what the SDKs for other languages build on, where the language itself
# is here: packages of npm into node_modules, and Debian's own packages for
# Python. It says what it does and what is missing, and never fails: the tests
# that need it skip themselves.
set -uo pipefail

cd "$(dirname "$0")/.."

node_packages() {
	if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
		echo 'Node.js or npm is missing: the tests of the SDK for it are skipped' >&2
		return
	fi
	local dir
	for dir in plugin/node plugins/examples/node-greeter; do
		[ "$dir/node_modules/.package-lock.json" -nt "$dir/package-lock.json" ] && continue
		echo "installing the packages of $dir with npm" >&2
		# Without a network that should show soon.
		(cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --silent \
			--prefer-offline --fetch-retries=1 --fetch-retry-mintimeout=1000) ||
			echo "the packages of $dir could not be installed: its tests are skipped" >&2
	done
}

python_packages() {
	if ! command -v python3 >/dev/null; then
		echo 'Python is missing: the tests of the SDK for it are skipped' >&2
		return
	fi
	plugin/python/find-python >/dev/null 2>&1 && return
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		echo "the tests of the Python SDK are skipped: $(plugin/python/find-python 2>&1)" >&2
		return
	fi
	echo 'installing gRPC for Python with apt-get' >&2
	apt-get update -q >&2
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 \
		python3-grpcio python3-protobuf python3-cryptography >&2 ||
		echo 'gRPC for Python could not be installed: the tests of the Python SDK are skipped' >&2
}

node_packages
python_packages
exit 0
