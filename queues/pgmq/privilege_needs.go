package pgmq

import (
	"slices"
	"strings"
)

// privileges gathers what the statements of the chosen tasks need, in the order
// in which a person would grant it. What a statement reads, in a condition or
// with RETURNING, needs SELECT; what it locks with FOR UPDATE needs UPDATE.
type privileges struct {
	*facts
	tasks []Task
	found []Privilege
}

func (l *privileges) need(task Task, kind ObjectKind, o object, rights ...string) {
	if !slices.Contains(l.tasks, task) || o.oid == 0 {
		return
	}
	for _, right := range rights {
		at := slices.IndexFunc(l.found, func(p Privilege) bool { return p.Kind == kind && p.oid == o.oid && p.Right == right })
		if at < 0 {
			l.found = append(l.found, Privilege{Right: right, Kind: kind, Object: o.name, oid: o.oid})
			at = len(l.found) - 1
		}
		if !slices.Contains(l.found[at].Tasks, task) {
			l.found[at].Tasks = append(l.found[at].Tasks, task)
		}
	}
}

// call asks for functions; those that are not there are of another version.
func (l *privileges) call(task Task, names ...string) {
	for _, name := range names {
		l.need(task, Function, l.functions[name], "EXECUTE")
	}
}

const notifyFunction = "pg_catalog.pg_notify(text, text)"

func (l *privileges) host(w Workload) {
	l.need(TaskConnect, Database, l.database, "CONNECT")
	l.call(TaskListen, notifyFunction)
	for _, task := range []Task{TaskFind, TaskClaim, TaskExtend, TaskComplete, TaskGiveBack, TaskDeadLetter, TaskSend, TaskCount, TaskPrune} {
		l.need(task, Schema, l.schemas["pgmq"], "USAGE")
	}
	for _, q := range l.of(w.Consume) {
		l.need(TaskFind, Table, q.q, "SELECT")
		l.need(TaskClaim, Table, q.q, "SELECT", "UPDATE")
		l.need(TaskExtend, Table, q.q, "SELECT", "UPDATE")
		l.need(TaskComplete, Table, q.q, "SELECT", "DELETE")
		l.need(TaskGiveBack, Table, q.q, "SELECT", "UPDATE")
		l.need(TaskDeadLetter, Table, q.q, "SELECT", "DELETE")
		if w.OnComplete != Delete {
			l.need(TaskArchive, Table, q.a, "INSERT")
		}
		l.call(TaskGiveBack, notifyFunction)
	}
	for _, q := range l.of(w.Dead) {
		l.need(TaskDeadLetter, Table, q.q, "INSERT")
		if !q.headers {
			l.need(TaskDeadLetter, Table, q.q, "SELECT")
		}
		l.announce(TaskDeadLetter, q)
		l.need(TaskCount, Table, q.q, "SELECT")
	}
	for _, q := range l.of(w.Send) {
		l.need(TaskSend, Table, q.q, "INSERT")
		if l.tasker {
			l.need(TaskSend, Table, q.q, "SELECT")
			l.call(TaskSend, notifyFunction)
		}
		l.announce(TaskSend, q)
	}
	for _, q := range l.of(w.PruneArchives) {
		l.need(TaskPrune, Table, q.a, "SELECT", "UPDATE", "DELETE")
	}
	for _, q := range l.of(w.PruneDead) {
		l.need(TaskPrune, Table, q.q, "SELECT", "UPDATE", "DELETE")
	}
	if l.taskerSend != nil && len(w.Send) > 0 {
		l.need(TaskSend, Schema, l.taskerSchema, "USAGE")
		l.need(TaskSend, Function, *l.taskerSend, "EXECUTE")
		if !l.taskerOwn {
			l.call(TaskSend, "pgmq.send(text, jsonb, integer)", "pgmq.send(text, jsonb, jsonb, timestamp with time zone)", "pgmq.format_table_name(text, text)")
		}
	}
	if slices.ContainsFunc(l.of(slices.Concat(w.Consume, w.Dead)), func(q *queueTables) bool { return !q.headers }) {
		l.records(TaskBookkeeping, "SELECT", "INSERT", "UPDATE", "DELETE")
	}
}

// announce is what an insert's trigger needs, which runs with the rights of who
// inserts. Our own looks at the throttle by a function with its owner's rights.
func (l *privileges) announce(task Task, q *queueTables) {
	if !q.notifies || q.definer {
		return
	}
	l.call(task, notifyFunction)
	const due, may = "pgmq._notify_due(text)", "pgmq._may_announce(text)"
	if l.functions[due].oid != 0 {
		l.call(task, due, may)
		return
	}
	l.need(task, Table, l.tables["pgmq.notify_insert_throttle"], "SELECT", "UPDATE")
}

// records is what the side table needs, or what creating it does.
func (l *privileges) records(task Task, rights ...string) {
	schema, table := l.schemas["stephost"], l.tables[bookkeepingTable]
	switch {
	case schema.oid == 0:
		l.need(task, Database, l.database, "CREATE")
	case table.oid == 0:
		// CREATE SCHEMA IF NOT EXISTS is refused also where there is one.
		l.need(task, Database, l.database, "CREATE")
		l.need(task, Schema, schema, "USAGE", "CREATE")
	default:
		l.need(task, Schema, schema, "USAGE")
		l.need(task, Table, table, rights...)
	}
}

func (l *privileges) tools(w Workload) {
	pgmq, meta := l.schemas["pgmq"], l.tables["pgmq.meta"]
	for _, task := range []Task{TaskInspect, TaskReplay, TaskDiscard, TaskPurge, TaskDrop} {
		l.need(task, Schema, pgmq, "USAGE")
	}
	l.need(TaskInspect, Table, meta, "SELECT")
	every := l.of(slices.Concat(w.Consume, w.Send, w.Dead))
	for _, q := range every {
		l.need(TaskInspect, Table, q.q, "SELECT")
		l.need(TaskInspect, Table, q.a, "SELECT")
		l.need(TaskPurge, Table, q.q, "DELETE")
		for _, owner := range q.owners {
			l.need(TaskDrop, OwnerRole, owner, "")
		}
	}
	for _, q := range l.of(w.Dead) {
		l.need(TaskReplay, Table, q.q, "SELECT", "UPDATE", "DELETE")
		l.need(TaskDiscard, Table, q.q, "SELECT", "UPDATE", "DELETE")
		l.need(TaskDiscard, Table, q.a, "INSERT")
	}
	for _, q := range l.of(w.Consume) {
		l.need(TaskReplay, Table, q.q, "SELECT", "INSERT")
		l.announce(TaskReplay, q)
		l.call(TaskReplay, notifyFunction)
	}
	if slices.ContainsFunc(every, func(q *queueTables) bool { return !q.headers }) {
		l.records(TaskInspect, "SELECT")
		l.records(TaskReplay, "SELECT", "INSERT", "DELETE")
		l.records(TaskDiscard, "SELECT", "DELETE")
		l.records(TaskPurge, "SELECT", "DELETE")
		l.records(TaskDrop, "SELECT", "DELETE")
	}

	l.need(TaskDrop, Table, meta, "SELECT", "DELETE")
	l.call(TaskDrop, "pgmq.drop_queue(text)", "pgmq.format_table_name(text, text)", "pgmq._lock_queue(text)", "pgmq.acquire_queue_lock(text)")
	l.need(TaskInstall, Database, l.database, "CREATE")
	l.create()
}

// create is what pgmq.create does with the caller's rights.
func (l *privileges) create() {
	meta, throttle := l.tables["pgmq.meta"], l.tables["pgmq.notify_insert_throttle"]
	l.need(TaskCreate, Schema, l.schemas["pgmq"], "USAGE", "CREATE")
	l.need(TaskCreate, Table, meta, "INSERT")
	l.call(TaskCreate, "pgmq.create(text)", "pgmq.validate_queue_name(text)", "pgmq.format_table_name(text, text)",
		"pgmq.enable_notify_insert(text, integer)", "pgmq.notify_queue_listeners()")
	const ours = "pgmq._create_queue(text, boolean)"
	if l.functions[ours].oid != 0 {
		l.need(TaskCreate, Table, meta, "SELECT")
		l.call(TaskCreate, ours, "pgmq._lock_queue(text)", "pgmq._default_throttle_ms()", "pgmq._create_notify_trigger(text, text)")
	} else {
		l.call(TaskCreate, "pgmq.create_non_partitioned(text)", "pgmq.acquire_queue_lock(text)")
	}
	l.need(TaskCreate, Table, throttle, "SELECT", "INSERT", "UPDATE")
}

// of are the tables of those queues that exist, each once.
func (l *privileges) of(names []string) []*queueTables {
	var found []*queueTables
	for _, name := range names {
		if q := l.queues[strings.ToLower(name)]; q != nil && !slices.Contains(found, q) {
			found = append(found, q)
		}
	}
	return found
}
