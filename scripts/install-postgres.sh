#!/usr/bin/env bash
# Makes sure that PostgreSQL's server binaries are here. What is installed is
# the system's own package.
set -euo pipefail

# The places are those of internal/devpg.
found() {
	local dir
	if [ -n "${STEPHOST_PG_BIN:-}" ]; then
		[ -x "$STEPHOST_PG_BIN/postgres" ]
		return
	fi
	for dir in \
		"$(dirname "$(command -v postgres || echo none/none)")" \
		/usr/lib/postgresql/*/bin \
		/usr/pgsql-*/bin \
		/opt/homebrew/opt/postgresql*/bin \
		/usr/local/opt/postgresql*/bin \
		/home/linuxbrew/.linuxbrew/opt/postgresql*/bin; do
		[ -x "$dir/postgres" ] && [ -x "$dir/initdb" ] && return 0
	done
	return 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# Debian's packages make and start a cluster of their own, which nobody needs
# here. The setting that stops them is gone again afterwards.
no_cluster=/etc/postgresql-common/createcluster.d/stephost.conf

allow_cluster() {
	as_root rm -f "$no_cluster"
	as_root rmdir "${no_cluster%/*}" 2>/dev/null || true
}

with_apt() {
	trap allow_cluster EXIT
	as_root mkdir -p "${no_cluster%/*}"
	echo 'create_main_cluster = off' | as_root tee "$no_cluster" >/dev/null
	# A foreign package source that is broken does not matter here; whether the
	# package can be had, the installation tells.
	as_root apt-get update -q || true
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 postgresql
}

found && exit 0
if [ -n "${STEPHOST_PG_BIN:-}" ]; then
	echo "STEPHOST_PG_BIN is $STEPHOST_PG_BIN, where there is no postgres: correct or unset it" >&2
	exit 1
fi

if command -v apt-get >/dev/null; then
	if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
		echo 'PostgreSQL is missing and installing it needs root: run `apt-get install postgresql` as root, or set DATABASE_URL' >&2
		exit 1
	fi
	echo 'PostgreSQL is missing: installing the package postgresql with apt-get' >&2
	with_apt
elif command -v brew >/dev/null; then
	echo 'PostgreSQL is missing: installing postgresql@17 with Homebrew' >&2
	brew install postgresql@17
else
	echo 'PostgreSQL is missing: install its server (version 14 or newer, with initdb) with your package manager, or set DATABASE_URL to use a running one' >&2
	exit 1
fi

found || {
	echo 'PostgreSQL was installed, but its server binaries were not found: set STEPHOST_PG_BIN to the directory that holds postgres and initdb' >&2
	exit 1
}
