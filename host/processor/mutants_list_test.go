package processor

import "github.com/stephost/stephost/queues/pgmq/pgmqtest"

// mutants are the ways in which delivery can be broken, each in the code as it
// is.
func mutants() []mutant {
	const (
		claimFile  = "queues/pgmq/claim_sql.go"
		extendFile = "queues/pgmq/extend.go"
		settleFile = "queues/pgmq/settle.go"
		settleSQL  = "queues/pgmq/settle_sql.go"
		decideFile = "host/processor/decide.go"
		entryFile  = "host/processor/entry.go"
		lookFile   = "host/processor/claim.go"
		keeperFile = "host/processor/keeper.go"
		settler    = "host/processor/settler.go"
	)
	return []mutant{
		// Claims.
		{
			name: "acknowledged when claimed", file: claimFile, often: true,
			old: "UPDATE ` + l.q + ` AS m\n\tSET vt = (SELECT statement_timestamp() + $1::bigint * interval '1 microsecond'), read_ct = m.read_ct + 1` + set + `\n\tFROM picked p` + join + ` WHERE ` + same + `\n\tRETURNING m.msg_id, m.read_ct,",
			new: "DELETE FROM ` + l.q + ` AS m\n\tUSING picked p` + join + ` WHERE ` + same + ` AND $1::bigint > 0 AND '` + set + `' IS NOT NULL\n\tRETURNING m.msg_id, m.read_ct + 1,",
		},
		{
			name: "claim ignores vt", file: claimFile,
			old: "which := `vt <= statement_timestamp() AND vt >= (SELECT $4", new: "which := `vt >= (SELECT $4",
		},
		{
			name: "claim by id ignores vt", file: claimFile,
			old: "which = `msg_id = $3::bigint AND vt <= statement_timestamp() AND `", new: "which = `msg_id = $3::bigint AND `",
		},
		{
			name: "claim without locks", file: claimFile, often: true,
			old: " WHERE ` + which + ` FOR UPDATE SKIP LOCKED", new: " WHERE ` + which + `",
		},
		{
			name: "claim waits for locks", file: claimFile,
			old: " WHERE ` + which + ` FOR UPDATE SKIP LOCKED", new: " WHERE ` + which + ` FOR UPDATE",
		},
		{
			name: "claim keeps the epoch", file: claimFile,
			old: "read_ct = m.read_ct + 1` + set", new: "read_ct = m.read_ct` + set",
		},
		{
			name: "claim without a lease", file: claimFile,
			old: "SET vt = (SELECT statement_timestamp() + $1::bigint * interval '1 microsecond')", new: "SET vt = CASE WHEN $1::bigint > 0 THEN m.vt END",
		},
		// Heartbeats.
		{
			name: "heartbeat without the epoch", file: extendFile,
			old: "WHERE ` + ofBatch + ` AND ` + asyncCommit", new: "WHERE m.msg_id = ANY ($1::bigint[]) AND $2::int[] IS NOT NULL AND m.enqueued_at = ` + memberOf(\"$3::timestamptz[]\") + ` AND ` + asyncCommit",
		},
		{
			name: "heartbeat without the enqueueing time", file: extendFile,
			old: "WHERE ` + ofBatch + ` AND ` + asyncCommit", new: "WHERE m.msg_id = ANY ($1::bigint[]) AND m.read_ct = ` + memberOf(\"$2::int[]\") + ` AND $3::timestamptz[] IS NOT NULL AND ` + asyncCommit",
		},
		{
			name: "heartbeat waits for locks", file: extendFile,
			old: "FOR UPDATE SKIP LOCKED", new: "FOR UPDATE",
		},
		// Settlements.
		{
			name: "completion without the epoch", file: settleSQL, often: true,
			old: "WHERE ` + ofBatch + `\n\tRETURNING ` + returning", new: "WHERE m.msg_id = ANY ($1::bigint[]) AND $2::int[] IS NOT NULL AND m.enqueued_at = ` + memberOf(\"$3::timestamptz[]\") + `\n\tRETURNING ` + returning",
		},
		{
			name: "completion without the enqueueing time", file: settleSQL,
			old: "WHERE ` + ofBatch + `\n\tRETURNING ` + returning", new: "WHERE m.msg_id = ANY ($1::bigint[]) AND m.read_ct = ` + memberOf(\"$2::int[]\") + ` AND $3::timestamptz[] IS NOT NULL\n\tRETURNING ` + returning",
		},
		{
			name: "completion commits asynchronously", file: settleSQL,
			old: "WHERE ` + ofBatch + `\n\tRETURNING ` + returning", new: "WHERE ` + asyncCommit + ` AND ` + ofBatch + `\n\tRETURNING ` + returning",
		},
		{
			name: "give-back without the epoch", file: settleSQL,
			old: "WHERE ` + ofBatch + `\n\tRETURNING ` + ordinal + ` AS ord, m.msg_id, m.enqueued_at)`", new: "WHERE m.msg_id = ANY ($1::bigint[]) AND $2::int[] IS NOT NULL AND m.enqueued_at = ` + memberOf(\"$3::timestamptz[]\") + `\n\tRETURNING ` + ordinal + ` AS ord, m.msg_id, m.enqueued_at)`",
		},
		{
			name: "give-back keeps the epoch", file: settleSQL,
			old: "read_ct = m.read_ct + 1` + set", new: "read_ct = m.read_ct` + set",
		},
		{
			name: "give-back writes no record", file: settleSQL,
			old: "set = \", headers = \" + withRecord(\"m.headers\", record+\"::jsonb\")", new: "set = \"\"",
		},
		{
			name: "give-back writes no record beside the queue", file: settleSQL, layout: pgmqtest.V1_4,
			old: "DO UPDATE SET record = EXCLUDED.record", new: "DO NOTHING",
		},
		{
			name: "results and emits without a lease", file: settleSQL,
			old: "WHERE (o.ord IN (SELECT ord FROM done)) IS TRUE`", new: "WHERE (SELECT count(*) FROM done) >= 0`",
		},
		{
			name: "results and emits before the settlement", file: settleFile, often: true,
			old: "		s.settle(g, members[:n], false)\n",
			new: "		for i := range members[:n] {\n			for _, out := range members[i].send {\n				_, _ = s.b.Send(s.ctx, out.Queue, []queues.Outgoing{out})\n			}\n			members[i].send = nil\n		}\n		s.settle(g, members[:n], false)\n",
		},
		{
			name: "results and emits in a transaction of their own", file: settleFile,
			old: "		s.settle(g, members[:n], false)\n",
			new: "		sends := make([][]queues.Outgoing, n)\n		for i := range members[:n] {\n			sends[i], members[i].send = members[i].send, nil\n		}\n		s.settle(g, members[:n], false)\n		for i := range sends {\n			for _, out := range sends[i] {\n				if s.results[members[i].at].Status == queues.Settled {\n					_, _ = s.b.Send(s.ctx, out.Queue, []queues.Outgoing{out})\n				}\n			}\n		}\n",
		},
		{
			name: "dead letter without a result", file: settleFile,
			old: "g.kind, g.dead, m.send = kindDead, action.Queue, action.Send", new: "g.kind, g.dead = kindDead, action.Queue",
		},
		{
			name: "one refused member refuses its batch", file: settleFile,
			old: "if len(members) > 1 && fault != faultUnknown", new: "if false && fault != faultUnknown",
		},
		// What a host makes of the answers.
		{
			name: "unknown fate is taken as settled", file: settler,
			old: "			l.pending = append(l.pending, e)\n		}\n	}\n", new: "			gone = append(gone, fate{e, e.outcome})\n		}\n	}\n",
		},
		{
			name: "no row after an unknown fate is taken as loss", file: settler,
			old: "if e.settled.unknown {", new: "if false {",
		},
		{
			name: "settlement that was fenced out is not repeated after an adoption", file: settler,
			old: "if e.lease.Epoch != tried[i].Epoch {", new: "if false {",
		},
		{
			name: "redelivery runs again", file: lookFile,
			old: "ok && e.isRedelivered(d) {", new: "ok && e.isRedelivered(d) && false {",
		},
		{
			name: "message of a new queue is taken for an old one", file: entryFile,
			old: "if !e.lease.EnqueuedAt.Equal(d.EnqueuedAt) {", new: "if false {",
		},
		{
			name: "delivery after a give-back is taken for the old one", file: entryFile,
			old: "return d.Epoch < e.lease.Epoch+2", new: "return true",
		},
		{
			name: "adoption keeps the old record", file: entryFile,
			old: "e.lease, e.record, e.term = d.Lease, d.Record, term", new: "e.lease, e.term = d.Lease, term",
		},
		{
			name: "adoption keeps the old epoch in a give-back", file: entryFile,
			old: "upTo, renewed := e.lease.Epoch+1, d.Epoch+1", new: "upTo, renewed := e.lease.Epoch+1, e.lease.Epoch+1",
		},
		{
			name: "no assertion after a crash of the database", file: keeperFile,
			old: "			l.assertAll.Store(true)\n		}\n	}\n	for", new: "		_ = l\n		}\n	}\n	for",
		},
		{
			name: "assertion that failed is not repeated", file: keeperFile,
			old: "if all && !answered {", new: "if false && !answered {",
		},
		{
			name: "lost lease is not told to the handler", file: keeperFile,
			old: "e.cancelled, e.cancelledAt = pluginv1.CancelReason_CANCEL_REASON_LEASE_LOST, now\n			l.cancelling(toCancel, e)", new: "_ = toCancel",
		},
		// What a delivery costs.
		{
			name: "release spends the failure budget", file: decideFile, often: true,
			old: "	e.action = queues.Release{Record: e.accounted()}\n}\n\n// postpone", new: "	record := e.accounted()\n	record.Failures++\n	e.action = queues.Release{Record: record}\n}\n\n// postpone",
		},
		{
			name: "release counts towards max_deliveries", file: decideFile,
			old: "	e.action = queues.Release{Record: e.accounted()}\n}\n\n// postpone", new: "	e.action = queues.Release{Record: e.unaccounted()}\n}\n\n// postpone",
		},
		{
			name: "snooze spends the failure budget", file: decideFile,
			old: "e.action = queues.Retry{Delay: delay, Record: e.cleared()}", new: "record := e.cleared()\n		record.Failures++\n		e.action = queues.Retry{Delay: delay, Record: record}",
		},
		{
			name: "failure costs nothing", file: decideFile,
			old: "	attempt := e.attempt()\n	record.Failures++\n", new: "	attempt := e.attempt()\n",
		},
		{
			name: "failures add up in the entry", file: decideFile,
			old: "	attempt := e.attempt()\n	record.Failures++\n", new: "	attempt := e.attempt()\n	e.record.Failures++\n	record.Failures = e.record.Failures\n",
		},
		{
			name: "one failure too many", file: decideFile,
			old: "record.Failures >= d.ns.Retry.MaxAttempts", new: "record.Failures > d.ns.Retry.MaxAttempts",
		},
		{
			name: "handler that was told to stop has failed", file: decideFile,
			old: "	case pluginv1.CancelReason_CANCEL_REASON_LEASE_LOST, pluginv1.CancelReason_CANCEL_REASON_DRAINING:", new: "	case pluginv1.CancelReason(-1):",
		},
		{
			name: "delivery without an outcome costs nothing", file: decideFile,
			old: "e.unaccounted().AddError(entry)", new: "e.accounted().AddError(entry)",
		},
		{
			name: "max_deliveries is not enforced", file: lookFile,
			old: "lost >= l.ns.Retry.MaxDeliveries {", new: "false && lost >= l.ns.Retry.MaxDeliveries {",
		},
		{
			name: "crash among others convicts", file: decideFile,
			old: "if !crash.Alone() || e.group > 1 {", new: "if e.group > 1 {",
		},
		{
			name: "last of a group is convicted", file: decideFile,
			old: "if !crash.Alone() || e.group > 1 {", new: "if !crash.Alone() {",
		},
		{
			name: "suspect runs among all others", file: "host/processor/suspect.go",
			old: "return e.suspect() && !to.Untimed", new: "return false",
		},
	}
}
