// Package cgroup puts plugin processes into cgroups (version 2) of their own,
// below the host's.
//
// The host's cgroup must be delegated to it: a systemd unit says
// Delegate=cpu memory pids, a container needs a writable /sys/fs/cgroup. A
// cgroup that has processes cannot hand controllers to its children, so the
// first [Create] moves the host one level down, as systemd asks of services
// that manage their own cgroups:
//
//	<the host's cgroup>
//	├── stephost-host        the host and its shims
//	└── stephost-<pid>-…     one leaf for each plugin process, with its limits
//
// # Invariants
//
//   - Nothing outside the host's own cgroup is touched.
//   - What cannot be had is an error that says why; nothing is half set up.
//   - A leaf is removed together with every process that is left in it, also
//     those that have left the plugin's process group.
package cgroup
